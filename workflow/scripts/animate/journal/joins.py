"""How a clip's segments become one video: what two of them share is taken from one, or cross-faded.

A segment paints its first frames again, the conditioning frames, which are the last of the one
before. Segments are stored as they were sampled, and joined only where frames are written.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Joins:
    """How many frames each segment paints again, and how many of the last of them are faded."""

    overlaps: Sequence[int]
    blend: int = 0

    def faded(self, segment: int) -> int:
        """Return how many frames before a segment's own are faded from the segment before."""
        return min(self.blend, self.overlaps[segment]) if segment < len(self.overlaps) else 0


class Joiner:
    """Takes the frames of a clip's segments in order, and gives those of the clip."""

    def __init__(self, joins: Joins):
        self._joins = joins
        self._segment = -1
        self._again = self._faded = 0
        # The last frames, into which the next segment may still fade; no more than that.
        self._waiting: deque[np.ndarray] = deque()

    def take(self, segment: int, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of the clip, uint8 (h, w, 3), that are final with the next `frames`.

        They are those of a segment in order, uint8 (h, w, 3), those that it paints again first.
        """
        if segment != self._segment:
            self._segment, self._again = segment, self._joins.overlaps[segment]
            # Of a clip that goes on from another's frames, these are shown there.
            self._faded = min(self._joins.faded(segment), len(self._waiting))
        held = self._joins.faded(segment + 1)
        for frame in frames:
            if self._again:
                if self._again <= self._faded:
                    self._fade(frame)
                self._again -= 1
                continue
            self._waiting.append(frame)
            while len(self._waiting) > held:
                yield self._waiting.popleft()

    def _fade(self, frame: np.ndarray) -> None:
        place = len(self._waiting) - self._again
        share = 1 - self._again / (self._faded + 1)
        self._waiting[place] = _mixed(self._waiting[place], frame, share)


def _mixed(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Return the pixels between two frames, uint8, by the share of the other one."""
    mixed = one + share * (other.astype(np.float32) - one)
    return np.rint(mixed).astype(np.uint8)
