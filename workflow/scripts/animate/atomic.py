"""Files appear under their final name only when they are whole."""

import contextlib
import errno
import glob
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

# What a file system without locks answers, as Lustre does when mounted without `flock`.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# No job of another node writes for longer without a pause between two writes.
SILENT_SECONDS = 24 * 3600


@contextlib.contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The temporary name keeps the suffix, because encoders choose the container by it.
    When the block raises, the temporary file is removed and `path` is left as it was. What killed
    processes left behind of the same output is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*-*.part{path.suffix}"):
        label = leftover.name.removeprefix(f".{path.stem}.").removesuffix(f".part{path.suffix}")
        if is_abandoned(leftover, label, SILENT_SECONDS):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{process_label()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def process_label() -> str:
    """Return node and number of this process, for the name of a file that it alone writes."""
    return f"{platform.node()}-{os.getpid()}"


def is_abandoned(path: Path, label: str, silent_seconds: float) -> bool:
    """Whether the process that `label` names writes a file no more.

    It was of this node and has ended, or has not written for `silent_seconds`. A file that is gone
    is not abandoned.
    """
    node, _, process = label.rpartition("-")
    ended = node == platform.node() and not Path("/proc", process).exists()
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > silent_seconds or ended
    return False
