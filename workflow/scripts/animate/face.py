"""The face crop: which part of a frame drives the expression."""

import cv2
import numpy as np

AREA_SCALE = 1.3
CROP_SIZE = 512
MIN_SIDE = 4

Box = tuple[int, int, int, int]


def face_box(points: np.ndarray, frame_size: tuple[int, int]) -> Box | None:
    """Return the crop x1, y1, x2, y2 in pixels around the face, or None where there is no face.

    `points` (69, 2 or more) are x and y in 0..1 of a frame of `frame_size` (width, height); the
    first belongs to the heel and is left out. The bounding box grows to 1.3 times its area,
    three quarters of the added height above it for the forehead, and is clipped to the frame.
    """
    face = points[1:, :2] * frame_size
    if not np.isfinite(face).all():
        return None
    low, high = face.min(axis=0), face.max(axis=0)
    grow_x, grow_y = (high - low) * (np.sqrt(AREA_SCALE) - 1) / 2
    x1, y1 = np.maximum(low - np.array((grow_x, 1.5 * grow_y)), 0).astype(int)
    x2, y2 = np.minimum(high + np.array((grow_x, 0.5 * grow_y)), frame_size).astype(int)
    if x2 - x1 < MIN_SIDE or y2 - y1 < MIN_SIDE:
        return None
    return int(x1), int(y1), int(x2), int(y2)


def crop_face(frame: np.ndarray, box: np.ndarray | Box | None) -> np.ndarray:
    """Return the (512, 512, 3) uint8 RGB crop of `frame`; black where there is no box."""
    if box is None:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    x1, y1, x2, y2 = (int(side) for side in box)
    return cv2.resize(frame[y1:y2, x1:x2], (CROP_SIZE, CROP_SIZE))
