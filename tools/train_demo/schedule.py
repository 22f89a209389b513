"""How long a stage trains, and how fast: a stage may be cut into several runs."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

WARM_UP_STEPS = 100
FIRST_REPORTS = 1, 50
REPORT_SECONDS, KEEP_SECONDS = 15, 60


@dataclass(frozen=True)
class Run:
    """A run of `seconds` that covers the part `start` to `stop` of a stage, each 0 to 1."""

    seconds: float
    start: float = 0.0
    stop: float = 1.0

    def steps(self) -> Iterator[tuple[int, float]]:
        """Yield the number of each step of this run and how much of the stage is done, 0 to 1."""
        began, step = time.monotonic(), 0
        while (spent := (time.monotonic() - began) / self.seconds) < 1:
            yield step, self.start + (self.stop - self.start) * spent
            step += 1


def learning_rate(highest: float, step: int, done: float) -> float:
    """Return the rate at a step: warmed up in each run, falling as a cosine over the stage."""
    warm = min(1, (step + 1) / WARM_UP_STEPS)
    return highest * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


class Reports:
    """When a run says how far it is, and when it keeps its weights."""

    def __init__(self):
        self._said = self._kept = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to say how far the run is: at first, and every 15 seconds."""
        now = time.monotonic()
        if step not in FIRST_REPORTS and now - self._said < REPORT_SECONDS:
            return False
        self._said = now
        return True

    def keep_due(self) -> bool:
        """Whether to keep the weights, so that a run that is ended is not lost."""
        if time.monotonic() - self._kept < KEEP_SECONDS:
            return False
        self._kept = time.monotonic()
        return True
