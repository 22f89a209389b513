"""How far the character's colours are from the reference's."""

from collections.abc import Iterable

import cv2
import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD

# Points that both pictures must show to have an area in common.
FEWEST_POINTS = 3


def colour_distance(
    reference: np.ndarray,
    reference_body: np.ndarray,
    frames: Iterable[tuple[np.ndarray, np.ndarray]],
) -> float | None:
    """Return how far the mean colour of the person is from the reference's, in CIELAB.

    Of each of `frames`, uint8 RGB (h, w, 3) with its body points (20, 3) in 0..1 and scores, and of
    the reference, the area between the points that both show is compared; 2 is just visible. The
    result is the mean over the frames, None where none has such an area.
    """
    distances = []
    for frame, body in frames:
        both = (reference_body[:, 2] >= SCORE_THRESHOLD) & (body[:, 2] >= SCORE_THRESHOLD)
        colours = [
            _mean_colour(picture, points[both, :2])
            for picture, points in ((reference, reference_body), (frame, body))
        ]
        if all(colour is not None for colour in colours):
            distances.append(np.linalg.norm(colours[0] - colours[1]))
    return float(np.mean(distances)) if distances else None


def _mean_colour(picture: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Return the mean (3,) in CIELAB of the area between points in 0..1."""
    if len(points) < FEWEST_POINTS:
        return None
    height, width = picture.shape[:2]
    corners = np.round(points * (width, height)).astype(np.int32)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(corners), 1)
    pixels = picture[inside > 0]
    if not len(pixels):
        return None
    lab = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab[0].mean(axis=0)
