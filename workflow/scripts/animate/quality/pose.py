"""How far the result's person is from the pose that was drawn for it."""

import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD

RIGHT_SHOULDER, LEFT_SHOULDER = 2, 5
# Points that both must show before a frame is compared.
FEWEST_POINTS = 4


def pose_errors(drawn: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the mean distance of each frame's points, in widths of the drawn shoulders, (N,).

    `drawn` and `found` (N, 20, 3) are body points in pixels of the result and their scores. The
    width is the clip's median, since it shrinks when the person turns. A frame is NaN where fewer
    than four points are in both, and all are where no shoulders were drawn.
    """
    distances = np.linalg.norm(drawn[..., :2] - found[..., :2], axis=2)
    return _mean_of_points(distances, drawn, found) / _shoulder_width(drawn)


def pose_offsets(drawn: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how far to the right of and below the drawn pose each frame's person is, (N, 2).

    The mean over the points, in the widths of `pose_errors`, which says when a frame is NaN:
    errors of single points cancel out, a pose that is moved as a whole stays.
    """
    away = found[..., :2] - drawn[..., :2]
    offsets = [_mean_of_points(away[..., axis], drawn, found) for axis in (0, 1)]
    return np.stack(offsets, axis=1) / _shoulder_width(drawn)


def shown_share(drawn: np.ndarray, found: np.ndarray) -> float | None:
    """Return how many of the drawn body points the result shows, 0..1; None if none was drawn."""
    wanted = _seen(drawn)
    return float(_seen(found)[wanted].mean()) if wanted.any() else None


def _mean_of_points(values: np.ndarray, drawn: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the mean (N,) of each frame's `values` (N, 20) over the points that are in both."""
    both = _seen(drawn) & _seen(found)
    counts = both.sum(axis=1)
    sums = np.where(both, values, 0).sum(axis=1)
    return np.where(counts >= FEWEST_POINTS, sums / np.maximum(counts, 1), np.nan)


def _seen(points: np.ndarray) -> np.ndarray:
    return points[..., 2] >= SCORE_THRESHOLD


def _shoulder_width(drawn: np.ndarray) -> float:
    right, left = drawn[:, RIGHT_SHOULDER], drawn[:, LEFT_SHOULDER]
    both = _seen(right) & _seen(left)
    widths = np.linalg.norm((right - left)[both, :2], axis=1)
    width = np.median(widths) if both.any() else np.nan
    return width or np.nan
