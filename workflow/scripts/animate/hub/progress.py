"""Work on several files at once: how far it is, and that it ends for all when it fails for one."""

import logging
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from huggingface_hub.utils import tqdm

THREADS = 8


class Stopped(Exception):
    """Raised where files are worked on, when another one failed or the user interrupts."""


class Progress(tqdm):
    """Bytes done of a total, over all files; a line now and then where there is no terminal."""

    def __init__(self, verb: str, total: int):
        self.stopped = False
        pace = {"delay": 0.5, "mininterval": 0.5 if sys.stdout.isatty() else 30.0, "miniters": 1}
        super().__init__(desc=verb, total=total, unit="B", unit_scale=True, file=sys.stdout, **pace)

    def update(self, count: int = 1) -> None:
        """Note that this many more bytes are done; raise `Stopped` once the work is to end."""
        if self.stopped:
            raise Stopped
        with self.get_lock():
            super().update(count)

    def display(self, *args, **kwargs) -> None:
        """Show how far the work is."""
        if sys.stdout.isatty():
            super().display(*args, **kwargs)
        else:
            print(self, flush=True)
            logging.info(str(self))


def in_parallel(work: Callable[[Any], Any], files: Iterable[Any], progress: Progress) -> list[Any]:
    """Return the result for each file, in order; the first error, or Ctrl-C, stops the others.

    tqdm's `thread_map` would first let every file that is being fetched become whole.
    """
    with progress, ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(work, file) for file in files]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            progress.stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [job.result() for job in jobs]


def size_text(count: float) -> str:
    """Return a number of bytes with a decimal unit: 48.2 GB."""
    units = {"GB": 1e9, "MB": 1e6, "kB": 1e3}
    fitting = (f"{count / size:.1f} {unit}" for unit, size in units.items() if count >= size)
    return next(fitting, f"{count} B")
