"""One sampler at a time has a clip's journal, by a lock that dies with its process."""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from animate.atomic import NO_LOCKS

LOCK = "lock"
POLL_SECONDS = 1.0


@contextmanager
def held(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a clip's journal: a second sampler of the clip waits, and says so, until it is free."""
    with ExitStack() as files:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            lock = files.enter_context((folder / LOCK).open("a+"))
            try:
                _wait_for(lock, say)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                say(f"the disk of {folder} has no locks: start no other sampler of this clip")
            # Whoever was waited for may have removed the journal, and with it this lock.
            if _is_still(lock, folder / LOCK):
                break
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}")
        lock.flush()
        yield


def remove_journal(folder: Path) -> None:
    """Delete a finished clip's journal, with the segments of all keys.

    One that a sampler holds is left: it belongs to a newer attempt.
    """
    with suppress(FileNotFoundError, BlockingIOError), (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(lock: Any, say: Callable[[str], None]) -> None:
    waiting = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not waiting:
                lock.seek(0)
                say(f"waiting: {lock.read() or 'another process'} is sampling this clip")
            waiting = True
            time.sleep(POLL_SECONDS)


def _is_still(file: Any, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
