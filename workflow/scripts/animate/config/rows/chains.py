"""Rows that take another row's result as their driving video: which of them cannot."""

import difflib
from collections.abc import Iterator, Mapping

PREFIX = "clip:"


def taken_clip(video: str) -> str | None:
    """Return the name of the clip that a cell `clip:NAME` takes, None for a path."""
    return video.removeprefix(PREFIX).strip() if video.startswith(PREFIX) else None


def intermediate_file(results: str, clip: str) -> str:
    """Return where the frames of a clip lie for those that take its result."""
    return f"{results}/{clip}/intermediate.mp4"


def chain_mistakes(takes: Mapping[str, str], rows: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the name and the mistake of each clip whose chain leads nowhere, or round.

    `takes` maps a clip to the one that it takes; `rows` maps each clip of the table to its row.
    """
    for name, other in takes.items():
        if other not in rows:
            yield name, f"the table has no clip '{other}'{_nearest(other, rows)}"
        elif circle := _circle(name, takes):
            steps = ", ".join(f"row {rows[one]} takes row {rows[takes[one]]}" for one in circle)
            yield name, f"no row of a circle can be first ({steps}); give one of them a file"


def _circle(name: str, takes: Mapping[str, str]) -> list[str]:
    """Return the clips of the circle that a clip is in, it first; none when it is in no circle."""
    # In the order in which they are found.
    found = {name: None}
    while (name := takes.get(name, "")) and name not in found:
        found[name] = None
    return list(found) if name == next(iter(found)) else []


def _nearest(name: str, known: Mapping[str, int]) -> str:
    close = [f"'{one}'" for one in difflib.get_close_matches(name, known, n=3, cutoff=0.5)]
    return f"; did you mean {' or '.join(close)}?" if close else "; give the name of another row"
