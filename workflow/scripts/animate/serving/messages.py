"""Messages between a clip's job, the process that keeps warm ranks, and rank 0.

Each is one packet of a local socket: a JSON object, and the files that travel with it. A job sends
`settings`, the path of its settings file, with its standard output and error, then `signal` for
each signal it gets. It is answered `taken`, and at the end either `status`, the exit status of a
clip whose ranks have said what there is to say, or `failed`, what happened to ranks that could not.
Who waits for GPUs sends `holds` and `end`: see `animate.devices.idle`.
"""

import json
import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

Message = dict[str, Any]

MOST_BYTES = 1 << 16
TAKEN = {"taken": True}
CREDENTIALS = struct.Struct("3i")


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new connection."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(connection: socket.socket, message: Message, files: Sequence[int] = ()) -> bool:
    """Send a message, and open files by their numbers; False when the other end has gone."""
    content = [json.dumps(message).encode()]
    try:
        if files:
            socket.send_fds(connection, content, files)
        else:
            connection.sendmsg(content)
    except OSError:
        return False
    return True


def receive(connection: socket.socket) -> tuple[Message | None, list[int]]:
    """Return the next message and the files that came with it; None when the other end has gone."""
    try:
        content, files, _, _ = socket.recv_fds(connection, MOST_BYTES, 2)
    except OSError:
        return None, []
    for file in files:
        os.set_inheritable(file, False)
    message = None
    # Any user may send any bytes.
    with suppress(ValueError, RecursionError):
        message = json.loads(content)
    return (message if isinstance(message, dict) else None), files


def has_gone(connection: socket.socket) -> bool:
    """Tell whether the other end has gone, also when it left messages that nobody has read."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def is_own(connection: socket.socket) -> bool:
    """Tell whether the other end is a process of the same user."""
    size = CREDENTIALS.size
    _, user, _ = CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return user == os.getuid()


def take_standard_input() -> socket.socket:
    """Return the connection that this process got as its standard input.

    What this process starts gets another one, so that the connection ends with it.
    """
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return connection
