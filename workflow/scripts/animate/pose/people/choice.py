"""Which of the numbered people a clip's setting `person` means, and who there is to choose from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.pose.keypoints import shot_of
from animate.pose.people.census import Person
from animate.pose.people.chosen import Chosen
from animate.pose.person import parse_point
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline

# How far beside a box a point may lie, in units of the box's longer side.
NEAR = 0.25
LISTED = 12


@dataclass(frozen=True)
class Crowd:
    """The people of a clip and its timeline, shown in pixels of the model's frames."""

    people: Sequence[Person]
    timeline: Timeline

    def choose(self, person: str) -> str | Chosen:
        """Return whom `person` means; rules and points of the first frame stay as they are.

        "2" is somebody's number, "x,y@s" who is at a point of the model's frame at a second of the
        clip: of those whose box holds it the nearest one. ClipError when nobody is there.
        """
        if person.isdecimal():
            return self._numbered(int(person))
        if "@" in person:
            return self._at(*person.split("@"), person)
        return person

    def save(self, path: Path) -> None:
        """Write number, first frame and second, and box there of everybody."""
        listed = [
            {
                "number": one.number,
                "first_second": round(self._second(one.first.frame), 3),
                "frame": one.first.frame,
                "box": self._box(one.first.whole),
            }
            for one in self.people
        ]
        with atomic_output(path) as temporary:
            temporary.write_text(json.dumps({"people": listed}) + "\n")

    def _numbered(self, number: int) -> Chosen:
        if not 1 <= number <= len(self.people):
            raise ClipError(
                f"person {number} is not there: {self._listed()}; give one of their numbers, or"
                " largest, or center"
            )
        return Chosen(number, tuple(self.people))

    def _at(self, point: str, second: str, person: str) -> Chosen:
        place = parse_point(point, self.timeline.model_size)
        frame = self.timeline.frame_at(float(second))
        if frame is None:
            raise ClipError(
                f"person {person} names second {float(second):g}, but the clip lasts"
                f" {float(self.timeline.duration):.2f} s; give a second inside it"
            )
        shot = shot_of(frame, self.timeline.shots)
        seen = {one.number: one.place(frame, shot) for one in self.people}
        boxes = {number: np.array(self._box(s.whole)) for number, s in seen.items() if s}
        costs = {number: _distance(box, place) for number, box in boxes.items()}
        number = min(costs, key=costs.get, default=0)
        if not number or not np.isfinite(costs[number]):
            there = [_described(number, box) for number, box in boxes.items()]
            shown = f"the clip shows {_enumerated(there)}" if there else self._listed()
            raise ClipError(
                f"nobody is near person {person}: at that second {shown}; give a point inside a"
                " box, in pixels of the preview's frames, or a number"
            )
        return Chosen(number, tuple(self.people))

    def _listed(self) -> str:
        if not self.people:
            return "nobody is seen in the clip"
        people = [
            f"{_described(one.number, self._box(one.first.whole))} from second"
            f" {self._second(one.first.frame):.2f}"
            for one in self.people
        ]
        return f"the clip shows {_enumerated(people)}"

    def _second(self, frame: int) -> float:
        return float(frame / self.timeline.frame_rate)

    def _box(self, box: np.ndarray) -> list[int]:
        """Return a box in pixels of the upright source as whole pixels of the model's frames."""
        placed = Letterbox(self.timeline.source_size, self.timeline.model_size)
        corners = np.column_stack([box.reshape(2, 2) / self.timeline.source_size, (1, 1)])
        return [round(value) for value in placed.points(corners)[:, :2].ravel()]


def _distance(box: np.ndarray, point: np.ndarray) -> float:
    """Return how far a point is from a box's middle, more for one beside it, infinite far off."""
    beside = np.maximum(np.maximum(box[:2] - point, point - box[2:]), 0).max()
    side = (box[2:] - box[:2]).max()
    if beside > NEAR * side:
        return np.inf
    return float(np.linalg.norm((box[:2] + box[2:]) / 2 - point)) + 1e6 * (beside > 0)


def _described(number: int, box: Sequence[int]) -> str:
    return f"person {number} (box {','.join(str(int(side)) for side in box)})"


def _enumerated(things: list[str]) -> str:
    more = [f"{len(things) - LISTED} others"] if len(things) > LISTED else []
    *others, last = things[:LISTED] + more
    return f"{', '.join(others)} and {last}" if others else last
