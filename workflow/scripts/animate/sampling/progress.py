"""Progress of a clip by segment and step, with an estimate of the time left."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TextIO


@dataclass(frozen=True)
class Sampled:
    """How far a clip is: the segment and its step, from 1, that was sampled last, and of how many.

    `seconds_left` are those until the last step, None while they are not known.
    """

    segment: int
    segments: int
    step: int
    steps: int
    seconds_left: float | None


def progress_file(log: Path) -> Path:
    """Return the JSON file beside a clip's log file that says how far the clip is."""
    return log.with_suffix(".progress.json")


def read_progress(log: Path, since: float) -> Sampled | None:
    """Return how far the clip of a log file is, None where that was not written since a time."""
    path = progress_file(log)
    # There may be none yet, or one that another version wrote.
    with suppress(OSError, ValueError, TypeError):
        if path.stat().st_mtime >= since:
            return Sampled(**json.loads(path.read_text("utf-8")))
    return None


class Progress:
    """Writes one line per event to standard output and, if given, appends it to a log file.

    Beside the log file stands how far the clip is, for programs: see `read_progress`. A `quiet` one
    writes nothing: of several ranks, one speaks.
    """

    def __init__(
        self,
        clip: str,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
        began: float | None = None,
    ):
        """`began` is when the clip's job did, by CLOCK_BOOTTIME; with this process if not given."""
        self._clip = clip
        self._clock = clock
        self._streams: list[TextIO] = [] if quiet else [sys.stdout]
        self._file: Path | None = None
        if log is not None and not quiet:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._streams.append(log.open("a", encoding="utf-8"))
            self._file = progress_file(log)
        self._last = self._stage_end = self._part_end = clock()
        self._parts: dict[str, float] = {}
        began = _process_start() if began is None else began
        self.seconds = {"start": round(time.clock_gettime(time.CLOCK_BOOTTIME) - began, 2)}
        self._sampling: list[float] = []
        self._pauses: list[float] = []

    def stage(self, name: str) -> None:
        """Note in `seconds` how long a stage took that ends now and began when the last one ended.

        The first of them, "start", is that of the job until this object was made.
        """
        now = self._clock()
        self.seconds[name] = round(now - self._stage_end, 2)
        self._stage_end = self._part_end = now

    def part(self, name: str) -> None:
        """Note that a part of a segment's work ends; it began where the last one ended."""
        now = self._clock()
        self._parts[name] = now - self._part_end
        self._part_end = now

    def parts(self, segment: int) -> None:
        """Say how long each part of `segment` (from 0) took."""
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self._parts.items())
        self.say(f"segment {segment + 1}/{self._segments}: {told}")
        self._parts = {}

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
        left = None
        if self._sampling:
            left = self._left(self._segments - segment - 1, self._steps - step)
            line += f", {fmean(self._sampling):.2f} s per step, about {duration(left)} left"
        self.say(line)
        self._note(Sampled(segment + 1, self._segments, step, self._steps, left))

    def _note(self, sampled: Sampled) -> None:
        # A full disk ends a clip where its frames are stored, not here.
        with suppress(OSError):
            if self._file:
                temporary = self._file.with_suffix(".part")
                temporary.write_text(json.dumps(asdict(sampled)) + "\n", "utf-8")
                temporary.replace(self._file)

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


def _process_start() -> float:
    """Return when this process started, in seconds of CLOCK_BOOTTIME, to a hundredth."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def duration(seconds: float) -> str:
    """Return seconds as `1 h 02 min`, `3 min 05 s` or `7 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
