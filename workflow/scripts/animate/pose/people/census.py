"""Everybody in sight of a clip, numbered: one person keeps one number over gaps and cuts.

The numbers depend on the frames and the detector alone, not on whom the clip follows.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from animate.pose.people.track import (
    LONG_GAP,
    SAME_BOX,
    SURE_LOOKS,
    Track,
    best_pairs,
    difference,
    looks_of,
    overlap,
)

# Of each shot the first frame and every eighth after it are looked at.
SURVEY_EVERY = 8
# Detectors now and then see somebody for a moment where nobody is.
MIN_SIGHTINGS = 3
# Frames out of sight over which somebody is taken to have moved on evenly.
MAX_GAP = LONG_GAP + SURVEY_EVERY

# Of the people in a frame uint8 RGB (h, w, 3): what tells one from the other, the trunk where the
# network knows it, and the whole box, both (M, 4) x1 y1 x2 y2 in pixels.
InSight = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Sighting:
    """Somebody in a frame of the shot that begins with frame `shot`; boxes (4,) in its pixels."""

    frame: int
    shot: int
    trunk: np.ndarray
    whole: np.ndarray


@dataclass(frozen=True)
class Person:
    """One of the people of a clip; the sightings are in order."""

    number: int
    sightings: tuple[Sighting, ...]

    @property
    def first(self) -> Sighting:
        """Where the person is first seen."""
        return self.sightings[0]

    def place(self, frame: int, shot: int) -> Sighting | None:
        """Return where the person is in any frame of a shot, None when out of sight.

        Between two sightings the boxes move evenly; before the first and after the last one they
        stand for as long as nobody has looked.
        """
        known = [sighting for sighting in self.sightings if sighting.shot == shot]
        after = bisect_right([sighting.frame for sighting in known], frame)
        near = known[max(after - 1, 0) : after + 1]
        if len(near) == 2 and near[1].frame - near[0].frame <= MAX_GAP:
            share = (frame - near[0].frame) / (near[1].frame - near[0].frame)
            trunk, whole = (
                (1 - share) * getattr(near[0], part) + share * getattr(near[1], part)
                for part in ("trunk", "whole")
            )
            return Sighting(frame, shot, trunk, whole)
        return next((one for one in near if abs(one.frame - frame) < SURVEY_EVERY), None)


@dataclass
class _Known:
    """Somebody who was seen: the track of the last shot, and all sightings."""

    track: Track
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def last(self) -> Sighting:
        return self.sightings[-1]


def number_people(
    frames: Iterable[np.ndarray], shots: Sequence[int], in_sight: InSight
) -> tuple[Person, ...]:
    """Return the people of a clip, numbered from 1 by first appearance, then from left to right.

    `frames` are uint8 RGB (h, w, 3), `shots` the first frame of each shot. In a shot people are
    known by place, speed, size and colours; after a longer gap, elsewhere and in other shots by
    colours alone. Who is seen fewer than three times, though looked for more often, is left out.
    One frame is in memory at a time.
    """
    known: list[_Known] = []
    surveys: dict[int, int] = {}
    starts, shot = set(shots), 0
    for number, frame in enumerate(frames):
        shot = number if number in starts else shot
        if (number - shot) % SURVEY_EVERY == 0:
            surveys[shot] = surveys.get(shot, 0) + 1
            _see(known, frame, Sighting(number, shot, *_apart(*in_sight(frame))))
    real = [
        one.sightings
        for one in known
        if len(one.sightings) >= min(MIN_SIGHTINGS, surveys[one.sightings[0].shot])
    ]
    real.sort(key=lambda seen: (seen[0].frame, seen[0].whole[[0, 2]].sum()))
    return tuple(Person(number, tuple(seen)) for number, seen in enumerate(real, 1))


def _see(known: list[_Known], frame: np.ndarray, seen: Sighting) -> None:
    """Add the people of a frame, whose boxes `seen` holds (M, 4), to those they are."""
    boxes = seen.trunk
    looks = [looks_of(frame, box) for box in boxes]
    who: dict[int, _Known] = {}
    for costs_of in (_moved, _alike):
        free = [i for i in range(len(boxes)) if i not in who]
        absent = [one for one in known if all(one is not taken for taken in who.values())]
        if free and absent:
            there = boxes[free], [looks[i] for i in free]
            costs = np.stack([costs_of(one, seen, *there) for one in absent])
            who |= {free[column]: absent[row] for row, column in best_pairs(costs)}
    for i, (trunk, whole) in enumerate(zip(boxes, seen.whole, strict=True)):
        if i not in who:
            who[i] = _Known(Track(trunk, looks[i]))
            known.append(who[i])
        elif who[i].last.shot == seen.shot:
            who[i].track.missed = seen.frame - who[i].last.frame - 1
            who[i].track.follow(trunk, looks[i])
        else:
            who[i].track = Track(trunk, who[i].track.looks)
        who[i].sightings.append(Sighting(seen.frame, seen.shot, trunk, whole))


def _moved(one: _Known, seen: Sighting, boxes: np.ndarray, looks: list[np.ndarray]) -> np.ndarray:
    """Return how unlike somebody of this shot, who moves on, each box (M, 4) is."""
    if one.last.shot != seen.shot:
        return np.full(len(boxes), np.inf)
    one.track.missed = seen.frame - one.last.frame - 1
    return one.track.costs(boxes, looks)


def _alike(one: _Known, seen: Sighting, boxes: np.ndarray, looks: list[np.ndarray]) -> np.ndarray:
    """Return how unlike somebody, wherever that was, the colours in each box (M, 4) are."""
    apart = np.array([difference(one.track.looks, look) for look in looks])
    return np.where(apart < SURE_LOOKS, apart, np.inf)


def _apart(trunks: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes without second ones on the same person; the surest come first."""
    kept: list[int] = []
    for i, box in enumerate(trunks):
        if all(overlap(box, trunks[other]) < SAME_BOX for other in kept):
            kept.append(i)
    return np.reshape(trunks, (-1, 4))[kept], np.reshape(whole, (-1, 4))[kept]
