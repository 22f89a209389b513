"""Person masks with MediaPipe's body segmentation: runs on any CPU."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from animate.blazepose import PersonDetector, PersonNetworks, Region
from animate.drawing import LIMBS, SCORE_THRESHOLD

CONFIDENCE = 0.5
NECK = 1
# How far the neck may lie from the middle of the trunk, in units of the trunk's square.
MAX_DISTANCE = 0.6


def masks(frames: Iterable[np.ndarray], body: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the person's mask of each frame, uint8 0/1 (h, w), all 0 where nobody was found.

    `frames` are uint8 RGB (h, w, 3); `body` (N, 20, 3) holds their body points in pixels, which
    say whose mask is wanted. Of the segmented areas only those stay that their skeleton crosses.
    """
    region = None
    with PersonDetector() as detector, PersonNetworks(mask=True) as networks:
        for frame, points in zip(frames, body, strict=True):
            if region is None or not _is_person(region, points):
                region = _person(detector.people(frame), points)
            seen = networks.person(frame, region) if region else None
            region = seen.region if seen else None
            if seen is None or not _is_person(seen.region, points):
                yield np.zeros(frame.shape[:2], np.uint8)
            else:
                yield _crossed((seen.mask > CONFIDENCE).astype(np.uint8), points)


def _person(regions: list[Region], points: np.ndarray) -> Region | None:
    return next((region for region in regions if _is_person(region, points)), None)


def _is_person(region: Region, points: np.ndarray) -> bool:
    """Say whether the body points belong to the person in the region."""
    if points[NECK, 2] == 0:
        return False
    side = region.box[2] - region.box[0]
    return np.linalg.norm(points[NECK, :2] - region.chest) < MAX_DISTANCE * side


def _crossed(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the connected areas of `mask` that the skeleton crosses."""
    skeleton = np.zeros_like(mask)
    for a, b in LIMBS:
        if min(points[a, 2], points[b, 2]) >= SCORE_THRESHOLD:
            cv2.line(skeleton, points[a, :2].astype(int), points[b, :2].astype(int), 1, 3)
    _, areas = cv2.connectedComponents(mask)
    return np.isin(areas, np.unique(areas[(skeleton & mask) > 0])).astype(np.uint8)
