"""The ranks of a server as one child process: what they print, what they tell, how they end."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import IO

from animate.devices.parent import LAUNCHER
from animate.serving.messages import Message, pair, receive, send

# Ranks end after their step; one at 1280x720 takes ten seconds.
GRACE_SECONDS = 60
PIECE = 1 << 16


class Ranks:
    """A command that starts ranks, whose standard input is the connection to rank 0."""

    def __init__(self, command: list[str]):
        self.connection, theirs = pair()
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | {LAUNCHER: str(os.getpid())},
                # The locks of the GPUs are theirs, too; nothing else here can be inherited.
                close_fds=False,
                start_new_session=True,
            )
        self.streams = [self._process.stdout, self._process.stderr]
        for stream in self.streams:
            os.set_blocking(stream.fileno(), False)

    def signal(self, number: int) -> None:
        """Send a signal as a terminal or a manager of jobs does."""
        with suppress(ProcessLookupError):
            if number == signal.SIGINT:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def printed(self, stream: IO[bytes]) -> bytes | None:
        """Return what was printed to a stream, None when nothing is left, b"" at its end."""
        with suppress(BlockingIOError):
            return os.read(stream.fileno(), PIECE)
        return None

    @property
    def ended(self) -> bool:
        """Whether the command has ended."""
        return self._process.poll() is not None

    def message(self) -> Message | None:
        """Return the next message of the ranks, None when they have ended."""
        return receive(self.connection)[0]

    def give(self, message: Message) -> bool:
        """Tell rank 0 the next clip; False when the ranks have ended."""
        return send(self.connection, message)

    def end(self) -> int:
        """Have waiting ranks end, and make sure that they do; return the command's exit code."""
        self.connection.close()
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def kill(self) -> None:
        """End the ranks at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
