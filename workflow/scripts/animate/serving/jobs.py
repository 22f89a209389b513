"""A clip's job: it has a server sample the clip, and ends as if it had done so itself."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from animate.serving.messages import Message, pair, receive, send
from animate.serving.servers import waiting_servers

SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
STREAMS = 1, 2
LOST = "the ranks ended without a word: see the log, and run again to go on after the last whole"
LOST += " segment"


def sample_by_server(
    settings: Path,
    names: str,
    start: Callable[[], socket.socket],
    say: Callable[[str], None],
) -> Message:
    """Have a settings file's clip sampled by a server that waits, or by one that `start` starts.

    `names` is how the names of servers begin that have loaded what the clip needs.
    Returns the server's answer: see `animate.serving.messages`. Ranks that were sound when their
    last clip ended may fail in this one for what they did before. So a clip that such ranks leave
    without a word of its own is given to new ones, once.
    """
    with _passing_signals() as told:
        for connection in waiting_servers(names):
            answer = _follow(connection, settings, told)
            if answer is None:
                continue
            if "failed" not in answer or told.numbers:
                return answer
            say(f"{answer['failed']}: it is begun again with new ranks")
            break
    # Waiting for a GPU can be ended by any signal.
    connection = start()
    with connection, _passing_signals() as told:
        return _follow(connection, settings, told) or {"failed": LOST}


def start_keeper(command: list[str]) -> socket.socket:
    """Start the process that keeps ranks, and return the connection to it.

    It inherits the locks of GPUs that this process holds, and no terminal, which would end it with
    this job.
    """
    connection, theirs = pair()
    with theirs:
        subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            start_new_session=True,
        )
    return connection


class _Told:
    """The signals that this job got, and the connection that they are passed on to."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.connection: socket.socket | None = None

    def __call__(self, number: int, frame: object) -> None:
        self.numbers.append(number)
        if self.connection:
            send(self.connection, {"signal": number})


@contextmanager
def _passing_signals() -> Iterator[_Told]:
    told = _Told()
    before = {number: signal.signal(number, told) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow(connection: socket.socket, settings: Path, told: _Told) -> Message | None:
    """Return the answer of a server that takes the clip, None of one that does not."""
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    if not send(connection, {"settings": str(settings), "began": began}, STREAMS):
        return None
    taken, _ = receive(connection)
    if taken is None:
        return None
    told.connection = connection
    with suppress(IndexError):
        # It came before the clip was taken.
        send(connection, {"signal": told.numbers[0]})
    answer, _ = receive(connection)
    return answer or {"failed": LOST}
