"""Figures that say how well a clip's preprocessing went."""

from bisect import bisect_right
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
OF_THE_VIDEO = {"pose_video": OF_THE_POSE, "face_video": ("face",), "mask_video": ("mask",)}
# A hand or a hip that is away for so long has blinked; what is away for longer was gone.
BLINK_SECONDS = 0.5
# The first frame, and the one after the last.
Span = tuple[int, int]


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
    a hand or a hip vanishes for up to half a second, a shorter clip counting as one of ten. The
    figures of `cut_metrics` are among them.

    `frame_size` is (width, height) of the upright source, `frame_rate` in frames per second,
    `shots` the first frame of each shot.
    """
    lost, doubted = ~keypoints.found, int(keypoints.doubted.sum())
    in_shots = shot_slices(shots, len(keypoints))
    return cut_metrics(len(keypoints), frame_rate, shots) | {
        "body": _share(keypoints.found),
        "left_hand": _share(_seen(keypoints.left_hand) & keypoints.found),
        "right_hand": _share(_seen(keypoints.right_hand) & keypoints.found),
        "face": _share(keypoints.face_found),
        "plausible": round(1 - doubted / max(int(keypoints.found.sum()) + doubted, 1), 4),
        "held_or_blank": int(lost.sum()),
        "longest_gap": max((stop - start for start, stop in _runs(lost)), default=0),
        "jumps": _jumps(keypoints, frame_size),
        "blinks": _in_ten_seconds(
            len(_blinks(keypoints, frame_rate, in_shots)), len(keypoints), frame_rate
        ),
        "people": int(keypoints.people.max(initial=0)),
        "shots_without_person": sum(not keypoints.found[shot].any() for shot in in_shots),
    }


def cut_metrics(frames: int, frame_rate: float, shots: Sequence[int]) -> dict[str, float | int]:
    """Return how many `frames` a clip has, how often the shot changes, and that in ten seconds.

    A shorter clip counts as one of ten seconds. Arguments are as in `pose_metrics`.
    """
    cuts = len(shots) - 1
    return {"frames": frames, "cuts": cuts, "cut_rate": _in_ten_seconds(cuts, frames, frame_rate)}


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


def worst_spans(
    keypoints: Keypoints | None,
    masked: np.ndarray | None,
    frame_rate: float,
    shots: Sequence[int] = (0,),
) -> dict[str, Span]:
    """Return where a clip of N frames is worst: first frame, and the one after the last.

    Of body, face, mask and plausible it is the longest time in a row without; of blinks and cuts
    the ten seconds with most. `masked` says which frames have a mask, (N,) bool. What has no fault,
    or is not known, is not there.
    """
    worst = {"cuts": _densest(shots[1:], frame_rate)}
    if keypoints is not None:
        blinks = _blinks(keypoints, frame_rate, shot_slices(shots, len(keypoints)))
        worst |= {
            "body": _longest(~keypoints.found),
            "face": _longest(~keypoints.face_found),
            "plausible": _longest(keypoints.doubted),
            "blinks": _densest(blinks, frame_rate),
        }
    if masked is not None:
        worst["mask"] = _longest(~masked)
    return {name: span for name, span in worst.items() if span}


def _seen(points: np.ndarray) -> np.ndarray:
    return (points[..., 2] >= SCORE_THRESHOLD).any(axis=1)


def _share(flags: np.ndarray) -> float:
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0


def _runs(flags: np.ndarray) -> list[Span]:
    """Return the first frame of each run of true flags (N,), and the one after it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _in_ten_seconds(count: int, frames: int, frame_rate: float) -> float:
    return round(count / max(frames / frame_rate / 10, 1), 2)


def _blinks(keypoints: Keypoints, frame_rate: float, shots: list[slice]) -> list[int]:
    """Return the first frame of each blink, in order."""
    hips = (keypoints.body[:, [hip]] for hip in HIPS)
    found = []
    for points in (keypoints.left_hand, keypoints.right_hand, *hips):
        seen = _seen(points)
        for shot in shots:
            amid = [run for run in _runs(~seen[shot]) if run[0] > 0 and run[1] < len(seen[shot])]
            short = [run for run in amid if run[1] - run[0] <= BLINK_SECONDS * frame_rate]
            found += [shot.start + start for start, _ in short]
    return sorted(found)


def _longest(flags: np.ndarray) -> Span | None:
    return max(_runs(flags), key=lambda run: run[1] - run[0], default=None)


def _densest(frames: Sequence[int], frame_rate: float) -> Span | None:
    """Return the ten seconds or less that hold most of the frames, which are in order."""
    spans = []
    for first in range(len(frames)):
        last = bisect_right(frames, frames[first] + 10 * frame_rate) - 1
        spans.append((last - first, frames[first], frames[last] + 1))
    return max(spans, key=lambda span: span[0])[1:] if spans else None


def _jumps(keypoints: Keypoints, frame_size: tuple[int, int]) -> int:
    pixels = keypoints.body[..., :2] * frame_size
    width = np.linalg.norm(pixels[:, RIGHT_SHOULDER] - pixels[:, LEFT_SHOULDER], axis=1)
    step = np.linalg.norm(np.diff(pixels[:, NECK], axis=0), axis=1)
    # What scores 0 has no place.
    placed = keypoints.body[:, [NECK, RIGHT_SHOULDER, LEFT_SHOULDER], 2] > 0
    necks, known = keypoints.found & placed[:, 0], keypoints.found & placed.all(axis=1)
    both = necks[1:] & necks[:-1]
    # A person who turns sideways has narrow shoulders: the clip's median is the measure.
    unit = np.median(width[known]) if known.any() else np.inf
    return int((both & (step > JUMP * unit)).sum())
