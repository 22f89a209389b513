"""A clip's job: it has a server sample the clip, and ends as if it had done so itself."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from animate.serving.messages import Message, pair, receive, send
from animate.serving.servers import waiting_servers

SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
STREAMS = 1, 2
TAKEN_SECONDS = 10
LOST = "the ranks ended without a word: see the log, and run again to go on after the last whole"
LOST += " segment"


class ServerWaits(Exception):
    """While a job waited for GPUs, a server that it can use has become free."""


def sample_by_server(
    settings: Path,
    names: str,
    start: Callable[[], socket.socket],
    say: Callable[[str], None],
) -> Message:
    """Have a settings file's clip sampled by a server that waits, or by one that `start` starts.

    `names` is how the names of servers begin that have loaded what the clip needs. `start` may
    raise `ServerWaits`. Returns the answer: see `animate.serving.messages`. Ranks may fail for what
    they did in earlier clips: a clip that such ranks leave without a reason goes to others.
    """
    while True:
        for connection in waiting_servers(names):
            # One that stands still is left to itself.
            connection.settimeout(TAKEN_SECONDS)
            answer, told = _follow(connection, settings)
            if answer and (told or "failed" not in answer):
                return answer
            if answer:
                say(f"{answer['failed']}: it is begun again with other ranks")
        with suppress(ServerWaits), start() as connection:
            return _follow(connection, settings)[0] or {"failed": LOST}


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
            # For what goes wrong until it has taken the clip.
            stderr=None,
            close_fds=False,
            start_new_session=True,
        )
    return connection


def _follow(connection: socket.socket, settings: Path) -> tuple[Message | None, bool]:
    """Return a server's answer, None if it does not take the clip, and whether a signal came."""
    told: list[int] = []
    taken = None

    def pass_on(number: int, frame: object) -> None:
        told.append(number)
        if taken:
            send(connection, {"signal": number})

    before = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        send(connection, {"settings": str(settings), "began": began}, STREAMS)
        taken, _ = receive(connection)
        connection.settimeout(None)
        if taken:
            for number in told[:1]:
                send(connection, {"signal": number})
            return receive(connection)[0] or {"failed": LOST}, bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # It ends this job, as it would have without the server.
    for number in told[:1]:
        signal.raise_signal(number)
    return None, False
