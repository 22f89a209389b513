"""The timeline of a clip: which source frame becomes which output frame, and at what size."""

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from animate.atomic import atomic_output
from animate.config.fields import frame_rate
from animate.errors import ClipError
from animate.video.hdr import Hdr
from animate.video.seek import digested_span, find_entry
from animate.video.shots import CutFinder
from animate.video.source import Entry, Picture, Scan, digest, scan

SIZE_MULTIPLE = 16
MAX_RATE = 240
# Timestamps this far from an even grid, in frames, make the frame rate a variable one.
EVEN_TOLERANCE = Fraction(1, 4)
# This share of gaps of one length, a few dropped frames aside, makes the rate of that length.
TYPICAL_SHARE = 0.9
# A usual rate this near to the measured one is the one that was meant.
RATE_TOLERANCE = 0.01
# By so many seconds a printed time may be too early.
ROUNDING = Fraction(1, 200)
# Cuts are looked for in so many seconds more than the clip has, to judge those near its ends.
CUT_SECONDS = 2


@dataclass(frozen=True)
class Timeline:
    """What every later stage needs to know of the driving video.

    `frame_rate`: output frames per second. `source_indices`: for each output frame the decoded
    source frame, counted from 0 in presentation order. `model_size`: (width, height) of the
    model's frames. `start`: seconds of the first output frame in the source container's clock.
    `picture`: how decoded frames become upright ones. `shots`: for each shot its first output
    frame, ascending from 0; a shot ends where the next begins. `entry`: where to begin decoding,
    None for the first frame.
    """

    frame_rate: Fraction
    source_indices: tuple[int, ...]
    model_size: tuple[int, int]
    start: Fraction
    picture: Picture
    shots: tuple[int, ...] = (0,)
    entry: Entry | None = None

    @property
    def frame_count(self) -> int:
        """Number of output frames."""
        return len(self.source_indices)

    @property
    def source_size(self) -> tuple[int, int]:
        """Size (width, height) of the upright source frames with square pixels."""
        return self.picture.size

    @property
    def duration(self) -> Fraction:
        """Seconds of the output."""
        return self.frame_count / self.frame_rate

    def frame_at(self, second: float) -> int | None:
        """Return the output frame shown at a second of the clip, None outside of it.

        A second that previews and pages print of a frame, rounded to hundredths, means that frame.
        """
        if not 0 <= second <= self.duration:
            return None
        rounding = min(ROUNDING * self.frame_rate, Fraction(1, 2))
        frame = int(Fraction(str(second)) * self.frame_rate + rounding)
        return min(frame, self.frame_count - 1)

    def clock(self, first: int, stop: int) -> str:
        """Return frames `first` to `stop` - 1 as time from the clip's start: "0:03.2 to 0:05.0"."""
        seconds = [float(frame / self.frame_rate) for frame in (first, stop)]
        minutes = [divmod(round(10 * moment), 600) for moment in seconds]
        return " to ".join(f"{minute}:{rest / 10:04.1f}" for minute, rest in minutes)

    def to_json(self, path: Path) -> None:
        """Write the timeline, rates and times as fractions such as "30000/1001"."""
        values = asdict(self) | {
            "frame_count": self.frame_count,
            "frame_rate": str(self.frame_rate),
            "start": str(self.start),
        }
        with atomic_output(path) as temporary:
            temporary.write_text(json.dumps(values) + "\n")

    @classmethod
    def from_json(cls, path: Path) -> "Timeline":
        """Read what `to_json` wrote."""
        values = json.loads(Path(path).read_text())
        entry, picture = values["entry"], values["picture"]
        hdr = picture["hdr"] and Hdr(**picture["hdr"])
        picture |= {"size": tuple(picture["size"]), "hdr": hdr}
        return cls(
            frame_rate=Fraction(values["frame_rate"]),
            source_indices=tuple(values["source_indices"]),
            model_size=tuple(values["model_size"]),
            start=Fraction(values["start"]),
            picture=Picture(**picture),
            shots=tuple(values["shots"]),
            entry=Entry(**entry) if entry else None,
        )


def make_timeline(
    video: Path,
    *,
    resolution_area: int,
    fps: str = "source",
    start: float | None = None,
    end: float | None = None,
    frame_shape: tuple[int, int] | None = None,
    keep_size: bool = False,
) -> Timeline:
    """Decode `video` once and return its timeline.

    The model size has about `resolution_area` pixels and the shape of `frame_shape` (width,
    height: the reference's, in animate mode) or else of the video. With `keep_size` the frames of
    the video, which a sampler made, have the model's size already and keep it. `fps` is as in the
    settings, a rate such as "30000/1001", or "source". `start` and `end` are seconds from the first
    frame.
    Raises ClipError for a file that is no readable video and for times outside it.
    """
    video = Path(video)
    finder = CutFinder()
    digests: dict[int, bytes] = {}
    digested = digested_span(start, end)
    rotations: set[int] = set()

    def watch(number: int, seconds: Fraction, frame: VideoFrame) -> None:
        if (start or 0) - CUT_SECONDS <= seconds <= (end or math.inf) + CUT_SECONDS:
            finder.see(number, frame)
        if digested and digested[0] <= seconds <= digested[1]:
            digests[number] = digest(frame)
        rotations.add(frame.rotation)

    found = scan(video, watch)
    rate, even = source_rate(found)
    target_rate = frame_rate(fps, rate)
    if target_rate > MAX_RATE:
        raise ClipError(
            f"driving video {video} has {float(rate):g} frames per second, more than {MAX_RATE};"
            ' set fps to a lower rate instead of "source"'
        )
    last_duration = 1 / rate if even else found.last_duration
    first, stop = _span(video, found.times, last_duration, start, end)
    if even:
        # Rounded down, as officially.
        count = max(int((stop - first) / rate * target_rate), 1)
        indices = frame_indices(stop - first, rate, count, target_rate)
    else:
        after = [*found.times, found.times[-1] + last_duration][stop]
        indices = _nearest_indices(found.times[first:stop], after, target_rate)
    # Which way a frame is turned may have been said before the place to begin.
    digests = digests if len(rotations) == 1 else {}
    wanted = tuple(first + index for index in indices)
    size = found.picture.size
    if not keep_size:
        size = model_size(*(frame_shape or size), resolution_area)
    return Timeline(
        frame_rate=target_rate,
        source_indices=wanted,
        model_size=size,
        start=found.times[first],
        picture=found.picture,
        shots=_first_frames(wanted, finder.cuts()),
        entry=find_entry(video, found, digests, wanted[0], wanted[-1]),
    )


def _first_frames(source_indices: list[int], cuts: list[int]) -> tuple[int, ...]:
    """Return the first output frame of each shot; `cuts` are source frames that begin one."""
    found = {bisect_left(source_indices, cut) for cut in cuts} - {0, len(source_indices)}
    return 0, *sorted(found)


def model_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Return (width, height) of about `area` pixels in the given shape, floored to 16s."""
    exact_height = math.sqrt(area / (width / height))
    sides = (area / exact_height, exact_height)
    return tuple(max(int(side // SIZE_MULTIPLE) * SIZE_MULTIPLE, SIZE_MULTIPLE) for side in sides)


def frame_indices(
    frames: int, source_rate: Fraction, target_count: int, target_rate: Fraction
) -> list[int]:
    """Return the nearest of `frames` evenly timed source frames for each of `target_count`."""
    times = np.arange(target_count) / float(target_rate)
    nearest = np.round(times * float(source_rate)).astype(int)
    return np.minimum(nearest, frames - 1).tolist()


def source_rate(found: Scan) -> tuple[Fraction, bool]:
    """Return the source's frames per second, and whether its frames are evenly timed."""
    times = found.times
    seconds = times[-1] - times[0] + found.last_duration
    measured = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 1 / seconds
    usual = [rate for rate in found.declared_rates if rate.denominator in (1, 1001)]
    average = measured.limit_denominator(1001)
    for rate in (*usual, *_near_rates(measured), *found.declared_rates, average):
        if _is_even(found, rate):
            return rate, True
    return _variable_rate(found, usual, float(len(times) / seconds)), False


def _near_rates(measured: float) -> list[Fraction]:
    """Return the whole rate and the NTSC rate next to a measured one, the nearer first."""
    whole = max(round(measured), 1)
    return sorted((Fraction(whole), Fraction(whole * 1000, 1001)), key=lambda r: abs(r - measured))


def _variable_rate(found: Scan, usual: list[Fraction], average: float) -> Fraction:
    """Return the rate that nearly all gaps between the frames have, or else the average one.

    One of the `usual` rates, a whole or an NTSC rate takes its place when it is near.
    """
    gaps = np.diff(np.array(found.times, float))
    typical = np.median(gaps)
    alike = gaps[np.abs(gaps - typical) <= max(EVEN_TOLERANCE * typical, 1.5 * found.tick)]
    measured = float(1 / alike.mean()) if len(alike) >= TYPICAL_SHARE * len(gaps) else average
    candidates = (*usual, *_near_rates(measured))
    nearest = min(candidates, key=lambda rate: abs(rate - measured))
    meant = abs(nearest - measured) <= RATE_TOLERANCE * measured
    return nearest if meant else Fraction(measured).limit_denominator(1001)


def _is_even(found: Scan, rate: Fraction) -> bool:
    step, start = float(1 / rate), float(found.times[0])
    expected = start + step * np.arange(len(found.times))
    deviation = np.abs(np.array(found.times, float) - expected).max()
    return deviation <= max(EVEN_TOLERANCE * step, 1.5 * found.tick)


def _span(
    video: Path,
    times: list[Fraction],
    last_duration: Fraction,
    start: float | None,
    end: float | None,
) -> tuple[int, int]:
    """Return the frame nearest to `start`, and the first one of which `end` shows less than half.

    `times` are the frames' times, `start` and `end` seconds from the first of them.
    """
    shown = [time - times[0] for time in times]
    length = shown[-1] + last_duration
    middles = [(time + following) / 2 for time, following in pairwise([*shown, length])]
    begin = Fraction(str(start or 0))
    finish = length if end is None else Fraction(str(end))
    if not 0 <= begin < finish <= length + last_duration / 2:
        raise ClipError(
            f"start {float(begin):g} s and end {float(finish):g} s do not fit driving video"
            f" {video}, which lasts {float(length):.2f} s; choose a span inside it"
        )
    first = min(bisect_left(middles, begin), len(times) - 1)
    return first, max(bisect_left(middles, finish), first + 1)


def _nearest_indices(times: list[Fraction], after: Fraction, rate: Fraction) -> list[int]:
    """Return for each output time until `after` the nearest of the unevenly timed frames."""
    seconds = np.array([float(time - times[0]) for time in times])
    count = max(round((after - times[0]) * rate), 1)
    wanted = np.arange(count) / float(rate)
    middles = (seconds[1:] + seconds[:-1]) / 2
    return np.searchsorted(middles, wanted).tolist()
