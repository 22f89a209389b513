"""Several seeds in a row of the table: a clip for each, of which the first has the row's name."""

import re

SEVERAL = re.compile(r"(\d+) *\.\. *(\d+)")
MOST_SEEDS, LARGEST_SEED = 100, 2**63 - 1
BETWEEN = "~seed"


def read_seeds(cell: str) -> list[int]:
    """Return the seeds of a cell such as `1..4`; none when it does not name several."""
    match = SEVERAL.fullmatch(cell)
    if not match:
        return []
    first, last = int(match[1]), int(match[2])
    good = first < last <= LARGEST_SEED and last - first < MOST_SEEDS
    return list(range(first, last + 1)) if good else []


def row_name(clip: str) -> str:
    """Return the name of the clip with the first seed of a row, whose files the others share."""
    return clip.partition(BETWEEN)[0]


def seed_name(clip: str, seed: int) -> str:
    """Return the name of the clip that is a row's with another seed than its first."""
    return f"{clip}{BETWEEN}{seed}"
