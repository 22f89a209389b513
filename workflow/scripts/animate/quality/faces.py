"""Whether the result's eyes and mouth open and close with the driver's."""

import numpy as np

from animate.pose.keypoints import Keypoints

# Of the 68 points of iBUG: upper and lower lid or lip, and the two corners.
RIGHT_EYE = ((37, 41), (38, 40)), (36, 39)
LEFT_EYE = ((43, 47), (44, 46)), (42, 45)
MOUTH = ((61, 67), (62, 66), (63, 65)), (60, 64)
FEWEST_FRAMES = 10
# A face that hardly moves has no step to keep.
LEAST_MOVEMENT = 0.01


def openings(keypoints: Keypoints, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return how open eyes and mouth are in each frame, height by width, (N,) each; NaN unseen.

    `size` is the (width, height) of the frames whose points are in 0..1.
    """
    points = keypoints.face[:, 1:, :2] * np.array(size, float)
    # What scores 0 has no place.
    points[keypoints.face[:, 1:, 2] == 0] = np.nan
    eyes = (_opening(points, RIGHT_EYE) + _opening(points, LEFT_EYE)) / 2
    mouth = _opening(points, MOUTH)
    hidden = ~keypoints.face_found
    return np.where(hidden, np.nan, eyes), np.where(hidden, np.nan, mouth)


def in_step(driver: np.ndarray, result: np.ndarray) -> float | None:
    """Return the correlation of two series (N,), -1..1, over the frames that both have.

    None when there are fewer than ten, or one of the two hardly moves.
    """
    both = np.isfinite(driver) & np.isfinite(result)
    first, second = driver[both], result[both]
    if len(first) < FEWEST_FRAMES or min(first.std(), second.std()) < LEAST_MOVEMENT:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _opening(points: np.ndarray, place: tuple) -> np.ndarray:
    pairs, (corner, other) = place
    heights = [np.linalg.norm(points[:, a] - points[:, b], axis=1) for a, b in pairs]
    width = np.linalg.norm(points[:, corner] - points[:, other], axis=1)
    return np.mean(heights, axis=0) / np.maximum(width, 1e-6)
