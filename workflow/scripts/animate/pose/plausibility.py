"""Whether what was found is a body: networks see people in ribbons, folds of cloth and fists.

Three things agree in a body and not in a nobody. Its limbs keep nearly the same lengths from one
frame to the next, though each of them shortens as it turns to the camera. It is found in frame
after frame. And where its face is seen, that is where the nose is. None of them needs the whole
body or a face, so backs, half bodies and people partly out of the frame hold.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from animate.pose.drawing import LIMBS, SCORE_THRESHOLD
from animate.pose.keypoints import EMPTY, Keypoints, shot_slices

NOSE = 0
PARTS = ("body", "left_hand", "right_hand", "face")
# What is judged together: this long before and after a frame.
WINDOW_SECONDS = 0.5
# The share of the limbs' lengths that changes from frame to frame: 0.02 to 0.1 in people, 0.1 to
# 0.5 in what is nobody.
MOST_CHANGE = 0.125


def drop_nobodies(
    keypoints: Keypoints,
    frame_size: tuple[int, int],
    frame_rate: float,
    shots: Sequence[int] = (0,),
) -> Keypoints:
    """Return the clip without the bodies that do not hold, see `unrest`; `doubted` says which."""
    score = unrest(keypoints, frame_size, frame_rate, shots)
    doubted = keypoints.found & ~(score <= MOST_CHANGE)
    parts = {}
    for name, empty in zip(PARTS, EMPTY, strict=True):
        parts[name] = getattr(keypoints, name).copy()
        parts[name][doubted] = empty
    return replace(keypoints, **parts, found=keypoints.found & ~doubted, doubted=doubted)


def unrest(
    keypoints: Keypoints,
    frame_size: tuple[int, int],
    frame_rate: float,
    shots: Sequence[int] = (0,),
) -> np.ndarray:
    """Return how little of the observed bodies agrees, (N,) from 0 up; NaN without a body.

    It is the median, over half a second each way within the shot, of the share of the limbs'
    lengths that changes from one frame to the next, divided by the share of the frames before or
    after that have a body, whichever is larger. It is 0 with a face on the nose, and in a shot of
    one frame. `frame_size` is (width, height) of the upright source, `frame_rate` in frames per
    second, `shots` the first frame of each shot.
    """
    reach = max(round(WINDOW_SECONDS * frame_rate), 1)
    faced = keypoints.found & _face_on_nose(keypoints)
    steps = _steps(keypoints, frame_size)
    # A face vouches for the body beside it, too: of somebody who turns around.
    steps[faced[1:] & faced[:-1]] = 0
    score = np.full(len(keypoints), np.nan)
    for shot in shot_slices(shots, len(keypoints)):
        for frame in np.flatnonzero(keypoints.found[shot]) + shot.start:
            first, stop = max(frame - reach, shot.start), min(frame + reach + 1, shot.stop)
            known = steps[first : stop - 1]
            known = known[np.isfinite(known)]
            change = np.median(known) if len(known) else np.inf
            # Of somebody who comes or goes, one side is empty.
            before, after = keypoints.found[first : frame + 1], keypoints.found[frame:stop]
            score[frame] = change / max(before.mean(), after.mean())
            if faced[frame] or stop - first == 1:
                score[frame] = 0
    return score


def _steps(keypoints: Keypoints, frame_size: tuple[int, int]) -> np.ndarray:
    """Return which share of the drawn limbs' lengths changes from each frame to the next, (N - 1,).

    It is NaN where one of the two has no body, and 1 where they share no limb.
    """
    start, end = np.transpose(LIMBS)
    points = keypoints.body[..., :2] * frame_size
    lengths = np.linalg.norm(points[:, start] - points[:, end], axis=2)
    drawn = keypoints.body[..., 2] >= SCORE_THRESHOLD
    drawn = drawn[:, start] & drawn[:, end]
    both = drawn[1:] & drawn[:-1]
    change = (np.abs(np.diff(lengths, axis=0)) * both).sum(axis=1)
    whole = ((lengths[1:] + lengths[:-1]) / 2 * both).sum(axis=1)
    steps = np.divide(change, whole, out=np.ones(len(whole)), where=whole > 0)
    steps[~(keypoints.found[1:] & keypoints.found[:-1])] = np.nan
    return steps


def _face_on_nose(keypoints: Keypoints) -> np.ndarray:
    """Return whether a face is seen, and the body's nose within half its size of it, (N,) bool."""
    face, nose = keypoints.face[:, 1:], keypoints.body[:, NOSE, :2]
    # What scores 0 has no place.
    placed = face[..., 2:] > 0
    low = np.min(face[..., :2], axis=1, where=placed, initial=np.inf)
    high = np.max(face[..., :2], axis=1, where=placed, initial=-np.inf)
    margin = (high - low) / 2
    near = (nose >= low - margin) & (nose <= high + margin)
    return keypoints.face_found & near.all(axis=1)
