"""Figures that say how well a clip's preprocessing went."""

from collections.abc import Iterable

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints

NECK, RIGHT_SHOULDER, LEFT_SHOULDER = 1, 2, 5
# The neck does not move by more than this in one frame, in units of the shoulders' width.
JUMP = 0.75


def pose_metrics(keypoints: Keypoints, frame_size: tuple[int, int]) -> dict[str, float | int]:
    """Return shares (0..1) of frames with body, hands and face, and counts over the clip.

    `held_or_blank` counts frames without the person, `longest_gap` the most in a row, `jumps`
    frames in which the pose leaps; `people` is the most seen at once. `frame_size` is
    (width, height) of the upright source.
    """
    lost = ~keypoints.found
    return {
        "frames": len(keypoints),
        "body": _share(keypoints.found),
        "left_hand": _share(_seen(keypoints.left_hand) & keypoints.found),
        "right_hand": _share(_seen(keypoints.right_hand) & keypoints.found),
        "face": _share(keypoints.face_found),
        "held_or_blank": int(lost.sum()),
        "longest_gap": _longest_run(lost),
        "jumps": _jumps(keypoints, frame_size),
        "people": int(keypoints.people.max(initial=0)),
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


def _seen(points: np.ndarray) -> np.ndarray:
    return (points[..., 2] >= SCORE_THRESHOLD).any(axis=1)


def _share(flags: np.ndarray) -> float:
    return round(float(np.mean(flags)), 4) if len(flags) else 0.0


def _longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return int(max(edges[1::2] - edges[::2], default=0))


def _jumps(keypoints: Keypoints, frame_size: tuple[int, int]) -> int:
    pixels = keypoints.body[..., :2] * frame_size
    width = np.linalg.norm(pixels[:, RIGHT_SHOULDER] - pixels[:, LEFT_SHOULDER], axis=1)
    step = np.linalg.norm(np.diff(pixels[:, NECK], axis=0), axis=1)
    both = keypoints.found[1:] & keypoints.found[:-1]
    # A person who turns sideways has narrow shoulders: the clip's median is the measure.
    unit = np.median(width[keypoints.found]) if keypoints.found.any() else 1
    return int((both & (step > JUMP * unit)).sum())
