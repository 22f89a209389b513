"""An open file that a thread writes to, since whoever reads it may stand still."""

import os
import threading
import time
from contextlib import suppress
from queue import SimpleQueue

# Pieces that wait to be written: more would only fill the memory.
MOST_PIECES = 16
PAUSE_SECONDS = 0.05


class Outlet:
    """Writes what is put to an open file and closes it at the end; nothing here waits for long."""

    def __init__(self, file: int):
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._hurried = self._ended = False
        # A process ends without waiting for it.
        self._thread = threading.Thread(target=self._write, args=(file,), daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether so much waits already that more should wait elsewhere; a moment is waited."""
        if not self._late:
            return False
        time.sleep(PAUSE_SECONDS)
        return self._late and not self._hurried

    def put(self, text: bytes) -> None:
        """Have a piece of text written."""
        if not (self._late and self._hurried):
            self._pieces.put(text)

    def hurry(self) -> None:
        """From now on lose what is put while the file stands still."""
        self._hurried = True

    def end(self, seconds: float = 0) -> bool:
        """Put nothing more; return whether all is written, for which so long is waited."""
        if not self._ended:
            self._pieces.put(None)
        self._ended = True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def _late(self) -> bool:
        return self._pieces.qsize() >= MOST_PIECES

    def _write(self, file: int) -> None:
        while (text := self._pieces.get()) is not None:
            # Whoever reads it may have gone.
            with suppress(OSError):
                while text:
                    text = text[os.write(file, text) :]
        os.close(file)
