"""Pose with MediaPipe: runs on any CPU, its models are part of the package.

MediaPipe's 33 body landmarks become the 20 body points like this (left and right are the person's
own in both): nose 0; neck, the middle of the shoulders 11 and 12; right shoulder, elbow and wrist
12, 14, 16; left 11, 13, 15; right hip, knee and ankle 24, 26, 28; left 23, 25, 27; right and left
eye 5 and 2; right and left ear 8 and 7; left and right toe, the foot indices 31 and 32. A point's
score is its visibility (of the neck, the lower of the two shoulders'). The 21 landmarks of a
hand have the same order and score 1. The 68 face points are picked from the mesh of 468.
Landmarks guessed outside the frame score 0, since the model was trained without them.
"""

from collections.abc import Iterable

import numpy as np

from animate.pose.backends.blazepose import (
    SAME_PERSON_DISTANCE,
    SHOULDERS,
    Person,
    PersonDetector,
    PersonNetworks,
    Region,
)
from animate.pose.keypoints import Keypoints, Parts, stack
from animate.pose.person import Tracker

BODY = (0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7, 31, 32)
NECK = 1
FACE = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
SEARCH_EVERY = 8
# Of two people's chests, in units of the larger one's region.
NEAR = 0.75


def detect(frames: Iterable[np.ndarray], *, person: str = "largest") -> Keypoints:
    """Return the keypoints of one person through a clip's frames, each uint8 RGB (h, w, 3).

    `person` is "largest", "center" or "x,y", see `animate.pose.person.choose`. One frame is in
    memory at a time.
    """
    tracker = Tracker(person)
    persons: list[Parts | None] = []
    people: list[int] = []
    seen, regions = None, []
    with PersonDetector() as detector, PersonNetworks(detail=True) as networks:
        for number, frame in enumerate(frames):
            if seen is None or number % SEARCH_EVERY == 0 or crowded(seen.region, regions):
                regions = detector.people(frame)
            places = beside(seen.region, regions) if seen else regions
            candidates = [networks.person(frame, place) for place in places]
            candidates = [candidate for candidate in candidates if candidate]
            trunks, whole = (
                [getattr(c, part) for c in candidates] for part in ("trunk", "visible")
            )
            index = tracker.pick(np.array(trunks), frame, np.array(whole))
            seen = None if index is None else candidates[index]
            persons.append(_parts(seen) if seen else None)
            people.append(max(len(regions), seen is not None))
    return stack(persons, people)


def beside(own: Region, regions: list[Region]) -> list[Region]:
    """Return the person's region and those of the others, if one of them is near."""
    near = crowded(own, regions)
    return [own, *(r for r in regions if near and own.distance(r) > SAME_PERSON_DISTANCE)]


def crowded(own: Region, regions: list[Region]) -> bool:
    """Say whether another person may soon hide this one."""
    return any(SAME_PERSON_DISTANCE < own.distance(region) < NEAR for region in regions)


def detect_picture(picture: np.ndarray, *, person: str = "largest") -> Keypoints:
    """Return the keypoints of one picture, uint8 RGB (h, w, 3), as a clip of one frame."""
    return detect([picture], person=person)


def _parts(person: Person) -> Parts:
    left, right = (_scored(hand, 21) for hand in (person.left_hand, person.right_hand))
    face = np.concatenate([np.zeros((1, 3)), _scored(person.face, 468)[list(FACE)]])
    return _body(person.body), left, right, face


def _body(points: np.ndarray) -> np.ndarray:
    body = points[list(BODY)]
    body[NECK, :2] = points[SHOULDERS, :2].mean(axis=0)
    body[NECK, 2] = points[SHOULDERS, 2].min()
    outside = ((body[:, :2] < 0) | (body[:, :2] > 1)).any(axis=1)
    body[outside, 2] = 0
    return body


def _scored(points: np.ndarray | None, count: int) -> np.ndarray:
    """Return hand or face points, which have no visibility of their own, with score 1."""
    if points is None:
        return np.zeros((count, 3))
    return np.column_stack([points[:count, :2], np.ones(count)])
