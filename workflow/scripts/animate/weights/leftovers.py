"""What killed processes left of prepared copies."""

import fcntl
import shutil
from pathlib import Path

from animate.weights.prepared import PREPARED

# Held while a copy is made.
LOCK = ".lock"


def remove_partial_copies(model: Path) -> None:
    """Remove unfinished copies of a model's transformer, unless one is being made now.

    Where nothing can be written or locked, they stay.
    """
    folder = model / PREPARED
    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for partial in folder.glob(".*.part"):
                shutil.rmtree(partial, ignore_errors=True)
    except OSError:
        return
