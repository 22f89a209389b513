"""Person masks with MediaPipe Pose's segmentation: runs on any CPU."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from mediapipe.python.solutions.pose import Pose

from animate.drawing import LIMBS, SCORE_THRESHOLD

CONFIDENCE = 0.5


def masks(frames: Iterable[np.ndarray], body: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the person's mask of each frame, uint8 0/1 (h, w), all 0 where nobody was found.

    `frames` are uint8 RGB (h, w, 3); `body` (N, 20, 3) holds their body points in pixels. Of the
    segmented areas only those stay that the points' skeleton touches.
    """
    with Pose(enable_segmentation=True) as model:
        for frame, points in zip(frames, body, strict=True):
            confidence = model.process(frame).segmentation_mask
            if confidence is None:
                yield np.zeros(frame.shape[:2], np.uint8)
            else:
                yield _touched((confidence > CONFIDENCE).astype(np.uint8), points)


def _touched(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the connected areas of `mask` that the skeleton crosses."""
    skeleton = np.zeros_like(mask)
    for a, b in LIMBS:
        if min(points[a, 2], points[b, 2]) >= SCORE_THRESHOLD:
            cv2.line(skeleton, points[a, :2].astype(int), points[b, :2].astype(int), 1, 3)
    _, areas = cv2.connectedComponents(mask)
    crossed = np.unique(areas[(skeleton > 0) & (mask > 0)])
    return np.isin(areas, crossed).astype(np.uint8) & mask
