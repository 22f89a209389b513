"""The same person in every frame of a shot, and in the next shot."""

from dataclasses import dataclass

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
from animate.pose.person import RULES, choose, suitability

# Frames out of sight after which one of several strangers may be taken.
PATIENCE = 12


@dataclass
class Acquaintance:
    """Whom earlier shots followed: the colours, and for how many frames."""

    looks: np.ndarray
    frames: float


class Tracker:
    """Recognises one person through the frames of a shot by place, speed, size and colours.

    Whom to follow is chosen in the first frame that shows anybody: who looks like the person of the
    shots before, else whom `person` means, see `choose`. The others in sight are followed too: of
    two people who cross, one hidden by the other, each is taken for whom they were walking as.
    While ours is out of sight, people who are not known as others are taken instead: a single one
    at once, one of several after 12 frames.

    `before` is the tracker of the shot before; it has seen its last frame when `pick` is first
    called.
    """

    def __init__(self, person: str = "largest", before: "Tracker | None" = None) -> None:
        self._person, self._before = person, before
        self._own: Track | None = None
        self._others: list[Track] = []
        self._frame = -1
        # When and how each person was first seen, and the frames in which all were looked for.
        self._met: dict[Track, tuple[int, np.ndarray, np.ndarray]] = {}
        self._surveys: list[int] = []
        self._known: list[Acquaintance] = []
        # The frame in which ours is first seen, when a second look at the shot knows it.
        self._due = 0

    def recognises(self, box: np.ndarray, frame: np.ndarray) -> bool:
        """Say whether ours can be the person in a box (4,) of the next frame."""
        return bool(np.isfinite(self._own.costs(box[None], [looks_of(frame, box)])[0]))

    def pick(
        self,
        boxes: np.ndarray,
        frame: np.ndarray,
        whole: np.ndarray | None = None,
        *,
        survey: bool = True,
    ) -> int | None:
        """Return the index of the person among boxes (M, 4) of the next frame, None if not there.

        Choices go by their `whole` boxes (M, 4) when `boxes` only holds a part of them. `frame` is
        uint8 RGB (h, w, 3). `survey` says that the boxes are those of all in sight.
        """
        self._frame += 1
        if self._before is not None:
            self._known, self._before = self._before.acquaintances(), None
        whole, size = boxes if whole is None else whole, frame.shape[1::-1]
        looks = [looks_of(frame, box) for box in boxes]
        if self._own is not None and not self._own.followed:
            self._own.missed = abs(self._frame - self._due)
        taken = {} if self._own is None else self._assign(boxes, looks)
        if self._own is None or self._own not in taken:
            index = self._take(boxes, looks, whole, size, taken)
            if index is not None:
                taken[self._own] = index
        if self._own in taken:
            self._own.followed += 1
            self._meet_others(boxes, looks, taken)
        if survey:
            self._surveys.append(self._frame)
            suits = suitability(whole, size, self._person)
            for track, box in taken.items():
                track.suited[self._frame] = float(suits[box])
        return taken.get(self._own)

    def acquaintances(self) -> list[Acquaintance]:
        """Return whom this shot and those before followed, the most followed first."""
        person = self._person_of_shot()
        if person is None or not person.looks.any():
            return self._known
        # A person that the user points at comes before all others.
        pointed = not self._known and self._person not in RULES
        frames = np.inf if pointed else self._frame + 1.0
        apart = [difference(known.looks, person.looks) for known in self._known]
        same = int(np.argmin(apart)) if apart and min(apart) < SURE_LOOKS else None
        known = [
            Acquaintance(k.looks, k.frames + frames * (i == same))
            for i, k in enumerate(self._known)
        ]
        known += [Acquaintance(person.looks, frames)] * (same is None)
        return sorted(known, key=lambda other: -other.frames)

    def second_look(self) -> "Tracker | None":
        """Return what follows the person of this shot when the frames are gone through again, None
        when that is not needed since the person was followed.

        Who is the person of the shot shows in its end only.
        """
        person = self._person_of_shot()
        if person is None or person.followed:
            return None
        again = Tracker(self._person)
        again._due, box, looks = self._met.pop(person)
        again._own = Track(box, looks)
        again._others = [Track(*first[1:], missed=first[0]) for first in self._met.values()]
        return again

    def _person_of_shot(self) -> Track | None:
        """Return who of all that were met was followed in shots before, or else suits best."""
        known = [known.looks for known in self._known]
        met = sorted(self._met, key=lambda track: not track.followed)
        for tracks in ([track for track in met if track.followed], met):
            index = _most_like(known, [track.looks for track in tracks])
            if index is not None:
                return tracks[index]
        if self._person not in RULES and not self._known:
            return next(iter(self._met), None)
        return max(met, key=lambda track: track.weight(self._surveys), default=None)

    def _assign(self, boxes: np.ndarray, looks: list[np.ndarray]) -> dict[Track, int]:
        """Give each known person the box most like them; return who got which."""
        tracks = [self._own, *self._others]
        taken: dict[Track, int] = {}
        if len(boxes):
            costs = np.stack([track.costs(boxes, looks) for track in tracks])
            taken = {tracks[track]: box for track, box in best_pairs(costs)}
        for track in tracks:
            if track in taken:
                track.follow(boxes[taken[track]], looks[taken[track]])
            else:
                track.missed += 1
        self._others = [track for track in self._others if track.missed <= LONG_GAP]
        return taken

    def _take(
        self,
        boxes: np.ndarray,
        looks: list[np.ndarray],
        whole: np.ndarray,
        size: tuple[int, int],
        taken: dict[Track, int],
    ) -> int | None:
        """Begin to follow somebody in sight and return the box; None if there is nobody to follow.

        `taken` says which of the boxes are others'.
        """
        owners = {box: track for track, box in taken.items()}
        lost = self._own
        # Whom we followed before may be the same person, seen from another side.
        free = [i for i in range(len(boxes)) if i not in owners or owners[i].followed]
        alone = lost is not None and len(boxes) == 1
        if alone and not free and self._faded_in(owners[0], looks[0]):
            free = [0]
        if not free or (lost is not None and not self._gives_up(alone)):
            return None
        index = free[self._choice([looks[i] for i in free], whole[free], size)]
        if index in owners:
            self._own = owners[index]
            self._others.remove(self._own)
        elif lost is not None and difference(lost.looks, looks[index]) < SURE_LOOKS:
            # The same person, elsewhere.
            lost.box, lost.speed, lost.missed = boxes[index], np.zeros(2), 0
            return index
        else:
            self._own = self._meet(boxes[index], looks[index])
        if lost is not None:
            self._others.append(lost)
        return index

    def _faded_in(self, track: Track, looks: np.ndarray) -> bool:
        """Say whether somebody seen beside ours was ours already, in the shot that ours faded into:
        the two look alike, and the other neither came from elsewhere nor hides ours."""
        if track not in self._met or difference(self._own.looks, looks) >= SURE_LOOKS:
            return False
        came = overlap(track.box, self._met[track][1]) < SAME_BOX
        return not came and overlap(track.box, self._own.box) < SAME_BOX

    def _gives_up(self, alone: bool) -> bool:
        """Say whether somebody else may be ours: one who is `alone` in sight, or one of several."""
        if not self._own.followed:
            return self._frame > self._due + PATIENCE
        return alone or self._own.missed > PATIENCE

    def _choice(self, looks: list[np.ndarray], whole: np.ndarray, size: tuple[int, int]) -> int:
        """Return the index of whom to follow, of people with these looks and `whole` boxes."""
        first = self._own is None
        known = [other.looks for other in self._known]
        index = _most_like(known if first else [self._own.looks, *known], looks)
        if index is not None:
            return index
        # A point is one of the first frame that shows anybody.
        pointed = first and not self._known
        rule = self._person if pointed or self._person in RULES else "largest"
        return choose(whole, size, rule)

    def _meet(self, box: np.ndarray, looks: np.ndarray) -> Track:
        """Return somebody who was not seen before."""
        track = Track(box, looks)
        self._met[track] = (self._frame, box, looks)
        return track

    def _meet_others(
        self, boxes: np.ndarray, looks: list[np.ndarray], taken: dict[Track, int]
    ) -> None:
        """Follow people not seen before, while ours is seen: they are not the one who comes back.

        A second box on our person is nobody else's.
        """
        known = set(taken.values())
        for number, box in enumerate(boxes):
            if number not in known and overlap(box, self._own.box) < SAME_BOX:
                track = self._meet(box, looks[number])
                self._others.append(track)
                taken[track] = number


def _most_like(known: list[np.ndarray], looks: list[np.ndarray]) -> int | None:
    """Return which of the `looks` are surely those of the first person of `known` who is there."""
    for one in known:
        apart = [difference(one, look) for look in looks]
        if apart and min(apart) < SURE_LOOKS:
            return int(np.argmin(apart))
    return None
