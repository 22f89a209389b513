"""Person masks with MediaPipe's body segmentation: runs on any CPU."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from animate.pose.backends.blazepose import Person, PersonDetector, PersonNetworks
from animate.pose.drawing import LIMBS, SCORE_THRESHOLD

CONFIDENCE = 0.5
NECK = 1
# Shoulders, nose and hips: without a neck, the first of them that is known says whose body it is.
BESIDE_NECK = (2, 5, 0, 8, 11)
# How far it may lie from the middle of the trunk, in units of the trunk's square.
MAX_DISTANCE = 0.8


def masks(
    frames: Iterable[np.ndarray], body: np.ndarray, *, shots: Sequence[int] = (0,)
) -> Iterator[np.ndarray]:
    """Yield the person's mask of each frame, uint8 0/1 (h, w), all 0 where nobody was found.

    `frames` are uint8 RGB (h, w, 3); `body` (N, 20, 3) holds their body points in pixels, which
    say whose mask is wanted. Of the segmented areas only those stay that their skeleton crosses.
    In the first frame of each of `shots` the person is looked for anew.
    """
    region = None
    with PersonDetector() as detector, PersonNetworks(mask=True) as networks:
        for number, (frame, points) in enumerate(zip(frames, body, strict=True)):
            if number in shots:
                region = None
            shown = points[:, 2].any()
            seen = networks.person(frame, region) if shown and region else None
            if shown and not _is_person(seen, points):
                people = (networks.person(frame, found) for found in detector.people(frame))
                seen = next((person for person in people if _is_person(person, points)), None)
            region = seen.region if seen else None
            if seen is None:
                yield np.zeros(frame.shape[:2], np.uint8)
            else:
                yield _crossed((seen.mask > CONFIDENCE).astype(np.uint8), points)


def _is_person(person: Person | None, points: np.ndarray) -> bool:
    """Say whether the body points are those of the person: their neck is on the trunk's top.

    Points of the user's may lack a neck; then another point of the trunk is as good.
    """
    if person is None:
        return False
    side = person.trunk[2] - person.trunk[0]
    middle = (person.trunk[:2] + person.trunk[2:]) / 2
    known = [] if points[NECK, 2] > 0 else [p for p in BESIDE_NECK if points[p, 2] > 0]
    apart = np.linalg.norm(points[[NECK, *known[:1]], :2] - middle, axis=1)
    return apart.min() < MAX_DISTANCE * side


def _crossed(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the connected areas of `mask` that the skeleton crosses."""
    skeleton = np.zeros_like(mask)
    for a, b in LIMBS:
        if min(points[a, 2], points[b, 2]) >= SCORE_THRESHOLD:
            cv2.line(skeleton, points[a, :2].astype(int), points[b, :2].astype(int), 1, 3)
    count, areas = cv2.connectedComponents(mask)
    kept = np.zeros(count, np.uint8)
    kept[areas[(skeleton & mask) > 0]] = 1
    return kept[areas]
