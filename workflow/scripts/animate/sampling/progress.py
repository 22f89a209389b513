"""Progress of a clip by segment and step, with an estimate of the time left."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
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
        self._last = clock()
        self._sampling: list[float] = []
        self._pauses: list[float] = []

    def plan(self, segments: int, finished: int, steps: int) -> None:
        """Say how much there is to do: `finished` of `segments` segments need no sampling."""
        self._segments, self._steps = segments, steps
        resumed = f", {finished} of them already sampled" if finished else ""
        self.say(f"{segments} segments of {steps} steps{resumed}")

    def step(self, segment: int, step: int) -> None:
        """Report that `step` (from 1) of `segment` (from 0) is done."""
        now = self._clock()
        # What lies before a segment's first step, loading or decoding, is no part of the steps.
        if step > 1:
            self._sampling.append(now - self._last)
        elif self._sampling:
            self._pauses.append(now - self._last)
        self._last = now
        line = f"segment {segment + 1}/{self._segments} step {step}/{self._steps}"
        if self._sampling:
            left = duration(self._left(self._segments - segment - 1, self._steps - step))
            line += f", {fmean(self._sampling):.2f} s per step, about {left} left"
        self.say(line)

    def _left(self, segments: int, steps: int) -> float:
        """Return the seconds of the steps left in this segment and of the segments after it."""
        each = fmean(self._sampling)
        pause = fmean(self._pauses) if self._pauses else each
        return steps * each + segments * (pause + (self._steps - 1) * each)

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
