"""Follow one of the numbered people through a clip."""

from dataclasses import dataclass

import numpy as np

from animate.pose.people.census import Person
from animate.pose.people.track import MAX_GROWTH, best_pairs, centres, longest_side

# How far a box's middle may be from where it is expected, in units of the longer side.
MAX_OFF = 0.75


@dataclass(frozen=True)
class Chosen:
    """Whom a clip follows, among all of its people."""

    number: int
    people: tuple[Person, ...]


class ChosenTracker:
    """Recognises the chosen person in the frames of a shot, as `Tracker` does whom it chose itself.

    Each box is his whom it is expected of: where people are between two looks at all of them is
    known from both. `first` is the shot's first frame in the clip.
    """

    def __init__(self, chosen: Chosen, first: int) -> None:
        self._chosen, self._shot, self._frame = chosen, first, first - 1

    def recognises(self, box: np.ndarray, frame: np.ndarray) -> bool:
        """Say whether the chosen one can be the person in a box (4,) of the next frame."""
        return self._owners(box[None], self._frame + 1).get(self._chosen.number) == 0

    def pick(
        self,
        boxes: np.ndarray,
        frame: np.ndarray,
        whole: np.ndarray | None = None,
        *,
        survey: bool = True,
    ) -> int | None:
        """Return the index of the person among boxes (M, 4) of the next frame, None if not there.

        `frame`, `whole` and `survey` are what `Tracker` needs.
        """
        self._frame += 1
        return self._owners(boxes, self._frame).get(self._chosen.number)

    def second_look(self) -> None:
        """Who it is was known from the first frame on."""
        return

    def _owners(self, boxes: np.ndarray, frame: int) -> dict[int, int]:
        """Return the numbers of the people whose boxes these are, with the index of the box."""
        places = {one.number: one.place(frame, self._shot) for one in self._chosen.people}
        expected = {number: place.trunk for number, place in places.items() if place}
        if not expected or not len(boxes):
            return {}
        costs = np.stack([_costs(box, boxes) for box in expected.values()])
        return {[*expected][row]: column for row, column in best_pairs(costs)}


def _costs(expected: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return how far each of boxes (M, 4) is from a box (4,), infinite where it is another."""
    size, sizes = longest_side(expected), longest_side(boxes)
    off = np.linalg.norm(centres(boxes) - centres(expected), axis=1) / np.maximum(sizes, size)
    growth = np.maximum(sizes / size, size / sizes)
    return np.where((off < MAX_OFF) & (growth < MAX_GROWTH), off, np.inf)
