"""Begin late in a long film: at a keyframe, where that gives the very frames of the whole film."""

import math
from collections.abc import Mapping
from contextlib import closing
from itertools import islice, starmap, zip_longest
from operator import eq
from pathlib import Path

import av

from animate.errors import ClipError
from animate.video.source import Entry, Scan, decoded_frames, digest

# A deinterlacer looks at the frames next to the one it makes.
NEIGHBOURS = 2
# Fewer skipped frames than between two keyframes are not worth looking for a place to begin.
WORTHWHILE = 100
# What follows a keyframe may need the frames before it (open GOP): begin that much earlier.
EARLIER_SECONDS = (0, 2, 10)
# More than `NEIGHBOURS` last at any usual rate.
MARGIN_SECONDS = 1


def digested_span(start: float | None, end: float | None) -> tuple[float, float] | None:
    """Return the seconds of a film whose frames `find_entry` compares; None for no late clip."""
    if not start:
        return None
    return start - MARGIN_SECONDS, math.inf if end is None else end + MARGIN_SECONDS


def find_entry(
    path: Path, found: Scan, digests: Mapping[int, bytes], first: int, last: int
) -> Entry | None:
    """Return where to begin decoding for frames `first` to `last`; None for the first frame.

    `digests` are those of the frames of `digested_span`, by number.

    Containers and decoders do not say after which seek all frames are right. So each place is
    tried: its frames must be those that decoding from the first frame gave, bit by bit.
    """
    number, stop = first - NEIGHBOURS, min(last + 1 + NEIGHBOURS, len(found.times))
    pts = found.stamps[number] if number >= WORTHWHILE else None
    if pts is None:
        return None
    expected = [digests.get(frame) for frame in range(number, stop)]
    if not all(expected):
        return None
    for seconds in EARLIER_SECONDS:
        entry = Entry(pts - round(seconds / found.tick), pts, number)
        if _gives(path, entry, expected):
            return entry
    return None


def _gives(path: Path, entry: Entry, expected: list[bytes | None]) -> bool:
    with closing(decoded_frames(path, entry)) as frames:
        given = map(digest, islice(frames, len(expected)))
        try:
            return all(starmap(eq, zip_longest(given, expected)))
        except (ClipError, av.FFmpegError):
            return False
