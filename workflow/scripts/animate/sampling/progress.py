"""Progress of a clip by segment and step, with an estimate of the time left."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO


class Progress:
    """Writes one line per event to standard output and, if given, appends it to a log file.

    A `quiet` one writes nothing: of several ranks, one speaks.
    """

    def __init__(
        self,
        clip: str,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ):
        self._clip = clip
        self._clock = clock
        self._streams: list[TextIO] = [] if quiet else [sys.stdout]
        if log is not None and not quiet:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._streams.append(log.open("a", encoding="utf-8"))
        self._steps_left = 0
        self._started = clock()
        self._steps_done = 0

    def plan(self, segments: int, finished: int, steps: int) -> None:
        """Say how much there is to do: `finished` of `segments` segments need no sampling."""
        self._segments, self._steps = segments, steps
        self._steps_left = (segments - finished) * steps
        self._started, self._steps_done = self._clock(), 0
        resumed = f", {finished} of them already sampled" if finished else ""
        self.say(f"{segments} segments of {steps} steps{resumed}")

    def step(self, segment: int, step: int) -> None:
        """Report that `step` (from 1) of `segment` (from 0) is done."""
        self._steps_done += 1
        self._steps_left -= 1
        # Decoding counts into the steps, so the estimate covers all the work that is left.
        each = (self._clock() - self._started) / self._steps_done
        self.say(
            f"segment {segment + 1}/{self._segments} step {step}/{self._steps},"
            f" {each:.2f} s per step, about {duration(self._steps_left * each)} left"
        )

    def say(self, message: str) -> None:
        """Write one line, marked with the time and the clip."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} clip {self._clip}: {message}\n"
        for stream in self._streams:
            stream.write(line)
            stream.flush()


def duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `7 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
