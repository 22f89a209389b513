"""Rows that take another row's result, as driving video or to go on from it: which cannot."""

import difflib
from collections.abc import Iterator, Mapping
from itertools import pairwise

PREFIX = "clip:"
# The columns that name another row, and how a circle of them is mended.
VIDEO, CONTINUE = "video", "continue_from"
REMEDIES = {VIDEO: "give one of them a file", CONTINUE: "leave one of them empty"}


def taken_clip(video: str) -> str | None:
    """Return the name of the clip that a cell `clip:NAME` takes, None for a path."""
    return video.removeprefix(PREFIX).strip() if video.startswith(PREFIX) else None


def intermediate_file(results: str, clip: str) -> str:
    """Return where the frames of a clip lie for those that take its result."""
    return f"{results}/{clip}/intermediate.mp4"


def chain_mistakes(
    takes: Mapping[str, Mapping[str, str]], rows: Mapping[str, int]
) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the column and the mistake of each clip whose chain leads nowhere, or round.

    `takes` maps a clip to those that it takes, by its columns; `rows` maps each clip of the table
    to its row.
    """
    for name, others in takes.items():
        for column, other in others.items():
            if other not in rows:
                yield name, column, f"the table has no clip '{other}'{_nearest(other, rows)}"
            elif circle := _circle(name, other, takes):
                steps = pairwise(rows[one] for one in [*circle, name])
                said = ", ".join(f"row {one} takes row {taken}" for one, taken in steps)
                problem = f"no row of a circle can be first ({said}); {REMEDIES[column]}"
                yield name, column, problem


def _circle(name: str, taken: str, takes: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the clips of the circle from a clip over one that it takes; none where there is none.

    It begins with the clip itself.
    """
    ways, seen = [[name, taken]], set()
    while ways:
        way = ways.pop(0)
        if way[-1] == name:
            return way[:-1]
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, other] for other in takes.get(way[-1], {}).values()]
    return []


def _nearest(name: str, known: Mapping[str, int]) -> str:
    close = [f"'{one}'" for one in difflib.get_close_matches(name, known, n=3, cutoff=0.5)]
    return f"; did you mean {' or '.join(close)}?" if close else "; give the name of another row"
