"""Points out of heatmaps, below the pixel: DARK decoding (Zhang et al., CVPR 2020)."""

import cv2
import numpy as np

BLUR = 11
SMALLEST = 1e-10


def decode(heatmaps: np.ndarray, centers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the points (N, K, 3), x and y in frame pixels and score, of (N, K, H, W) heatmaps.

    Each map covers the crop of the frame with the given centre and size, both (N, 2) in pixels.
    A map without a positive value scores what its maximum is, at the crop's corner.
    """
    count, _, height, width = heatmaps.shape
    points = np.array([[_peak(heatmap) for heatmap in maps] for maps in heatmaps], np.float64)
    grid = sizes / (width, height)
    points[..., :2] = points[..., :2] * grid[:, None] + (centers - sizes / 2)[:, None]
    return points.reshape(count, -1, 3).astype(np.float32)


def _peak(heatmap: np.ndarray) -> tuple[float, float, float]:
    """Return the maximum's x and y in map pixels and its value."""
    y, x = np.unravel_index(np.argmax(heatmap), heatmap.shape)
    score = heatmap[y, x]
    if score <= 0:
        return -1, -1, score
    height, width = heatmap.shape
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return x, y, score
    dx, dy = _offset(_log_blurred(heatmap, x, y))
    return x + dx, y + dy, score


def _log_blurred(heatmap: np.ndarray, x: int, y: int) -> np.ndarray:
    """Return the logarithm of the blurred map, 2 pixels around (x, y), beyond the border 0."""
    reach = BLUR // 2 + 2
    padded = cv2.copyMakeBorder(
        heatmap.astype(np.float32), reach, reach, reach, reach, cv2.BORDER_CONSTANT
    )
    patch = padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
    blurred = cv2.GaussianBlur(patch, (BLUR, BLUR), 0)[reach - 2 : reach + 3, reach - 2 : reach + 3]
    return np.log(np.maximum(blurred, SMALLEST))


def _offset(around: np.ndarray) -> tuple[float, float]:
    """Return the step from the middle of (5, 5) values to the top of the parabola through them."""
    gradient = np.array([around[2, 3] - around[2, 1], around[3, 2] - around[1, 2]]) / 2
    dxx = (around[2, 4] - 2 * around[2, 2] + around[2, 0]) / 4
    dyy = (around[4, 2] - 2 * around[2, 2] + around[0, 2]) / 4
    dxy = (around[3, 3] - around[1, 3] - around[3, 1] + around[1, 1]) / 4
    determinant = dxx * dyy - dxy * dxy
    if determinant == 0:
        return 0.0, 0.0
    dx, dy = -np.array([[dyy, -dxy], [-dxy, dxx]]) @ gradient / determinant
    return dx, dy
