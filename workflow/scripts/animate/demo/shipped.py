"""The trained weights that come with the workflow."""

from functools import cache
from pathlib import Path

from animate.hashing import content_hash

WEIGHTS = Path(__file__).with_name("weights")
TRAINED = "transformer", "vae"


@cache
def trained_content() -> tuple[str, ...]:
    """Return what the weights are: the hash of each part's files."""
    return tuple(content_hash(WEIGHTS / part) for part in TRAINED)
