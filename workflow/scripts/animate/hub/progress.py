"""How far a transfer or a check is, for a terminal and for a log."""

import logging
import sys
import threading
import time

SECONDS_BETWEEN_LINES = {True: 0.5, False: 30.0}


class Stopped(Exception):
    """Raised where files are worked on, when another one failed or the user interrupts."""


class Progress:
    """Bytes done of a total, summed over files that are worked on in parallel."""

    def __init__(self, verb: str, total: int):
        self._verb = verb
        self._total = total
        self._done: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._started = self._shown = time.monotonic()
        self._guard = threading.Lock()
        self._stopped = False

    def start(self, file: str, position: int) -> None:
        """Note that a file was done up to this byte before this run."""
        with self._guard:
            self._before.setdefault(file, position)
            self._done[file] = position

    def reach(self, file: str, position: int) -> None:
        """Note that a file is done up to this byte, and tell the user now and then.

        Raises:
            Stopped: after `stop`.
        """
        if self._stopped:
            raise Stopped
        with self._guard:
            self._done[file] = position
            now = time.monotonic()
            if now - self._shown >= SECONDS_BETWEEN_LINES[sys.stdout.isatty()]:
                self._shown = now
                self._show(now)

    def stop(self) -> None:
        """End the work on all files at its next step."""
        self._stopped = True

    def close(self) -> None:
        """Tell the user how it ended, when there was anything to do."""
        if self._total:
            self._show(time.monotonic(), end="\n")

    def _show(self, now: float, end: str = "\r") -> None:
        done = sum(self._done.values())
        rate = (done - sum(self._before.values())) / max(now - self._started, 1e-3)
        left = (self._total - done) / max(rate, 1.0)
        line = (
            f"{self._verb} {size_text(done)} of {size_text(self._total)},"
            f" {size_text(rate)}/s, {left / 60:.0f} min left"
        )
        if sys.stdout.isatty():
            print(f"\r{line}\033[K", end=end, flush=True)
        else:
            print(line, flush=True)
            logging.info(line)


class FileProgress:
    """What `http_get` moves in place of a progress bar."""

    def __init__(self, progress: Progress, file: str, initial: int):
        self._progress = progress
        self._file = file
        self._position = initial
        progress.start(file, initial)

    def update(self, count: int) -> None:
        """Note that this many more bytes of the file have arrived."""
        self._position += count
        self._progress.reach(self._file, self._position)

    def __enter__(self) -> "FileProgress":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def size_text(count: float) -> str:
    """Return a number of bytes with a decimal unit: 48.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
