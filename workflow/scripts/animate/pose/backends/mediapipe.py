"""Pose with MediaPipe: runs on any CPU, its models are part of the package.

MediaPipe's 33 body landmarks become the 20 body points like this (left and right are the person's
own in both): nose 0; neck, the middle of the shoulders 11 and 12; right shoulder, elbow and wrist
12, 14, 16; left 11, 13, 15; right hip, knee and ankle 24, 26, 28; left 23, 25, 27; right and left
eye 5 and 2; right and left ear 8 and 7; left and right toe, the foot indices 31 and 32. A point's
score is its visibility (of the neck, the lower of the two shoulders'). The 21 landmarks of a
hand have the same order and score 1. The 68 face points are picked from the mesh of 468.
Landmarks guessed outside the frame score 0, since the model was trained without them.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from animate.pose.backends.blazepose import (
    SAME_PERSON_DISTANCE,
    SHOULDERS,
    Person,
    PersonDetector,
    PersonNetworks,
    Region,
)
from animate.pose.follow import Seen, Shown, follow
from animate.pose.keypoints import Keypoints, Parts
from animate.pose.people.census import Person as Numbered
from animate.pose.people.census import number_people
from animate.pose.people.chosen import Chosen

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


def people(frames: Iterable[np.ndarray], *, shots: Sequence[int] = (0,)) -> tuple[Numbered, ...]:
    """Return everybody in a clip's frames, each uint8 RGB (h, w, 3), see `number_people`."""
    with PersonDetector() as detector, PersonNetworks() as networks:

        def in_sight(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            seen = (networks.person(frame, region) for region in detector.people(frame))
            boxes = [(one.trunk, one.visible) for one in seen if one]
            trunks, whole = np.reshape(boxes, (-1, 2, 4)).swapaxes(0, 1)
            return trunks, whole

        return number_people(frames, shots, in_sight)


def detect(
    frames: Iterable[np.ndarray],
    *,
    person: str | Chosen = "largest",
    shots: Sequence[int] = (0,),
) -> Keypoints:
    """Return what is seen of one person in a clip's frames, each uint8 RGB (h, w, 3).

    `person` is "largest", "center" or "x,y", see `animate.pose.person.choose`, or one of `people`;
    for `frames` and `shots` see `follow`. One frame is in memory at a time.
    """
    with PersonDetector() as detector, PersonNetworks(detail=True) as networks:
        return follow(frames, shots, person, partial(_observe, detector, networks))


def _observe(
    detector: PersonDetector, networks: PersonNetworks, shown: Iterable[Shown]
) -> Iterator[Seen]:
    """Yield what is seen of the tracker's person in each frame.

    The networks look where the person was in the frame before; all others are looked for in every
    eighth frame, and in each while the person is lost or may soon be hidden.
    """
    of_shot, number, seen, regions = None, 0, None, []
    for frame, tracker in shown:
        if tracker is not of_shot:
            of_shot, number, seen = tracker, 0, None
        survey = number % SEARCH_EVERY == 0
        searched = seen is None or survey or crowded(seen.region, regions)
        if searched:
            regions = detector.people(frame)
        own, rest = networks.person(frame, seen.region) if seen else None, []
        if own and tracker.recognises(own.trunk, frame):
            others = [r for r in regions if own.region.distance(r) > SAME_PERSON_DISTANCE]
            near = crowded(own.region, others)
            people = [own, *(networks.person(frame, region) for region in others if near)]
            rest = [] if near else others * survey
        else:
            regions = regions if searched else detector.people(frame)
            people = [networks.person(frame, region) for region in regions]
        people = [found for found in people if found]
        places = [*(found.region for found in people), *rest]
        trunks = [*(found.trunk for found in people), *(region.trunk for region in rest)]
        # Of those at a distance only the regions are known: compare like with like.
        whole = [p.box(frame.shape[1::-1]) for p in places] if rest else [p.visible for p in people]
        trunks, whole = (np.reshape(sides, (-1, 4)) for sides in (trunks, whole))
        index = tracker.pick(trunks, frame, whole, survey=survey)
        seen = None
        if index is not None:
            seen = people[index] if index < len(people) else networks.person(frame, places[index])
        yield _parts(seen) if seen else None, max(len(regions), seen is not None)
        number += 1


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
