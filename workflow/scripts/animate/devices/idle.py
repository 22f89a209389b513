"""Processes that hold GPUs while they wait for work: what they are called, and how they are asked.

Each listens, while it waits, under a name in Linux's abstract namespace of sockets. So no name is
left behind, and whoever reaches such a process finds it free.
"""

import socket
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

SOCKETS = Path("/proc/net/unix")
# Of a socket that listens, among the flags of that table.
LISTENING = 0x10000
REACH_SECONDS = 1
PREFIX = "wan-animate-waits"
# Asks it to end, now.
END = b'{"end": true}'


def idle_names(folder: Path) -> str:
    """Return how the names of all begin that wait and hold GPUs by the locks of a folder."""
    return f"{PREFIX}/{sha256(str(folder).encode()).hexdigest()[:12]}/"


def end_idle(folder: Path) -> None:
    """Ask all to end that wait and hold GPUs by the locks of a folder, whoever started them."""
    for name in waiting(idle_names(folder)):
        connection = reach(name)
        if connection:
            with connection, suppress(OSError):
                connection.send(END)


def waiting(beginning: str) -> list[str]:
    """Return the names of those that wait and whose name begins so."""
    names = []
    with suppress(OSError):
        for line in SOCKETS.read_text("utf-8", "replace").splitlines()[1:]:
            fields = line.split()
            if fields[-1].startswith(f"@{beginning}") and int(fields[3], 16) & LISTENING:
                names.append(fields[-1][1:])
    return names


def wait_as(name: str) -> socket.socket:
    """Return a socket that others reach by this name, until it is closed."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{name}")
    listener.listen()
    return listener


def reach(name: str) -> socket.socket | None:
    """Return a connection to who waits under a name, None when nobody does or too many try."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # With a timeout, one whose queue is full because it stands still is an error at once.
        connection.settimeout(REACH_SECONDS)
        connection.connect(f"\0{name}")
        connection.settimeout(None)
    except OSError:
        connection.close()
        return None
    return connection
