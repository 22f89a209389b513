"""Figures that say how well a clip's preprocessing went."""

from collections.abc import Iterable, Sequence

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints, shot_slices

HIPS = (8, 11)
NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
# The neck does not move by more than this in one frame, in units of the shoulders' width.
JUMP = 0.75
# Figures that say nothing of what the model sees where a video of the user's takes its place.
OF_THE_POSE = (
    *("body", "left_hand", "right_hand", "plausible", "held_or_blank", "longest_gap"),
    *("jumps", "blinks", "people", "shots_without_person"),
)
OF_THE_VIDEO = {"pose_video": OF_THE_POSE, "face_video": ("face",)}
# A hand or a hip that is away for so long has blinked; what is away for longer was gone.
BLINK_SECONDS = 0.5


def pose_metrics(
    keypoints: Keypoints,
    frame_size: tuple[int, int],
    frame_rate: float,
    shots: Sequence[int] = (0,),
) -> dict[str, float | int]:
    """Return shares (0..1) of frames with body, hands and face, and counts over the clip.

    `held_or_blank` counts frames in which the person was not seen, `longest_gap` the most in a row,
    `jumps` frames in which the pose leaps; `people` is the most seen at once. `plausible` is the
    share of the frames with a body whose body holds as one; `blinks` says how often in ten seconds
    a hand or a hip vanishes for up to half a second; `cuts` counts the changes of shot.

    `frame_size` is (width, height) of the upright source, `frame_rate` in frames per second,
    `shots` the first frame of each shot.
    """
    lost, doubted = ~keypoints.found, int(keypoints.doubted.sum())
    in_shots = shot_slices(shots, len(keypoints))
    return {
        "frames": len(keypoints),
        "body": _share(keypoints.found),
        "left_hand": _share(_seen(keypoints.left_hand) & keypoints.found),
        "right_hand": _share(_seen(keypoints.right_hand) & keypoints.found),
        "face": _share(keypoints.face_found),
        "plausible": round(1 - doubted / max(int(keypoints.found.sum()) + doubted, 1), 4),
        "held_or_blank": int(lost.sum()),
        "longest_gap": max((stop - start for start, stop in _runs(lost)), default=0),
        "jumps": _jumps(keypoints, frame_size),
        "blinks": _blinks(keypoints, frame_rate, in_shots),
        "people": int(keypoints.people.max(initial=0)),
        "cuts": len(in_shots) - 1,
        "shots_without_person": sum(not keypoints.found[shot].any() for shot in in_shots),
    }


def mask_metrics(masks: Iterable[np.ndarray]) -> dict[str, float | int]:
    """Return the share of frames with a mask, how many have none, and the masked share of a frame.

    `masks` are uint8 0/1 (h, w); a frame without a mask keeps its original picture.
    """
    areas = np.array([mask.mean() for mask in masks])
    return {
        "mask": _share(areas > 0),
        "without_mask": int((areas == 0).sum()),
        "mask_area": round(float(areas.mean()), 4) if len(areas) else 0.0,
    }


def without_given(
    metrics: dict[str, float | int], columns: Iterable[str]
) -> dict[str, float | int]:
    """Return the figures of what was made here; `columns` name the user's own files."""
    left_out = {name for column in columns for name in OF_THE_VIDEO.get(column, ())}
    return {name: value for name, value in metrics.items() if name not in left_out}


def _seen(points: np.ndarray) -> np.ndarray:
    return (points[..., 2] >= SCORE_THRESHOLD).any(axis=1)


def _share(flags: np.ndarray) -> float:
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the first frame of each run of true flags (N,), and the one after it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _blinks(keypoints: Keypoints, frame_rate: float, shots: list[slice]) -> float:
    hips = (keypoints.body[:, [hip]] for hip in HIPS)
    count = 0
    for points in (keypoints.left_hand, keypoints.right_hand, *hips):
        for hidden in (~_seen(points)[shot] for shot in shots):
            amid = [run for run in _runs(hidden) if run[0] > 0 and run[1] < len(hidden)]
            count += sum(stop - start <= BLINK_SECONDS * frame_rate for start, stop in amid)
    return round(10 * count * frame_rate / max(len(keypoints), 1), 2)


def _jumps(keypoints: Keypoints, frame_size: tuple[int, int]) -> int:
    pixels = keypoints.body[..., :2] * frame_size
    width = np.linalg.norm(pixels[:, RIGHT_SHOULDER] - pixels[:, LEFT_SHOULDER], axis=1)
    step = np.linalg.norm(np.diff(pixels[:, NECK], axis=0), axis=1)
    both = keypoints.found[1:] & keypoints.found[:-1]
    # A person who turns sideways has narrow shoulders: the clip's median is the measure.
    unit = np.median(width[keypoints.found]) if keypoints.found.any() else 1
    return int((both & (step > JUMP * unit)).sum())
