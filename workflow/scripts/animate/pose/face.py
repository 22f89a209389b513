"""The face crop: which part of a frame drives the expression."""

import cv2
import numpy as np

from animate.pose.keypoints import faces_seen
from animate.pose.smoothing import one_euro

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


def face_track(
    faces: np.ndarray, frame_size: tuple[int, int], frame_rate: float | None = None
) -> np.ndarray:
    """Return the crop of every frame, int (N, 4) as in `face_box`; all zero where none was seen.

    `faces` (N, 69, 3) with scores; a frame whose face is hidden keeps the last box, and frames
    before the first face take its box. With a `frame_rate` the boxes are smoothed.
    """
    seen = faces_seen(faces)
    found = [face_box(f, frame_size) if s else None for f, s in zip(faces, seen, strict=True)]
    last = next((box for box in found if box), None)
    if last is None:
        return np.zeros((len(faces), 4), int)
    boxes = np.array([last := box or last for box in found], float)
    if frame_rate:
        # Sides of the face are the unit, so that a small face is smoothed like a large one.
        side = np.sqrt(np.median((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])))
        boxes = one_euro(boxes / side, float(frame_rate)) * side
    return boxes.round().astype(int)


def crop_face(frame: np.ndarray, box: np.ndarray | Box) -> np.ndarray:
    """Return the (512, 512, 3) uint8 RGB crop of `frame`; black where the box is empty."""
    x1, y1, x2, y2 = (int(side) for side in box)
    if x1 >= x2 or y1 >= y2:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return cv2.resize(frame[y1:y2, x1:x2], (CROP_SIZE, CROP_SIZE))
