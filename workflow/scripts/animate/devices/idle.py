"""Processes that hold GPUs while they wait for work: what they are called, and how they are asked.

Each listens, while it waits, under a name in Linux's abstract namespace of sockets. So no name is
left behind, and whoever reaches such a process finds it free.
"""

import json
import socket
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path

SOCKETS = Path("/proc/net/unix")
# Of a socket that listens, among the flags of that table.
LISTENING = 0x10000
REACH_SECONDS = 1
PREFIX = "wan-animate-waits"
# Asks it to end, now; it leaves the connection open until it has.
END = b'{"end": true}'
ENDING_SECONDS = 10
# Asks it for `HOLDS`, a list of the locks that it holds.
HOLDS = "holds"
ASK = b'{"holds": true}'
MOST_BYTES = 1 << 16


def idle_names(folder: Path) -> str:
    """Return how the names of all begin that wait and hold GPUs by the locks of a folder."""
    return f"{PREFIX}/{sha256(str(folder).encode()).hexdigest()[:12]}/"


def end_idle(folder: Path, wanted: Collection[str], count: int) -> None:
    """Have the fewest end that wait and together hold `count` of the `wanted` locks of a folder.

    All that hold any when those are too few; whoever started them. Waits for their end.
    """
    found = {name: len(_held_by(name) & set(wanted)) for name in waiting(idle_names(folder))}
    holders = {name: held for name, held in found.items() if held}
    chosen = []
    while count > 0 and holders:
        enough = [name for name, held in holders.items() if held >= count]
        name = min(enough, key=holders.get) if enough else max(holders, key=holders.get)
        count -= holders.pop(name)
        chosen.append(name)
    _end(chosen)


def end_idle_while(folder: Path, short: Callable[[], bool]) -> None:
    """Have those of a folder that wait end one by one, as long as `short` says that room is."""
    for name in waiting(idle_names(folder)):
        if not short():
            return
        _end([name])


def held_locks(folder: Path) -> list[str]:
    """Return the names of the locks of a folder that this process holds."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        # Of this very list, too.
        with suppress(OSError):
            found.add(link.readlink())
    return sorted(path.name for path in found if path.parent == folder.resolve())


def _held_by(name: str) -> set[str]:
    """Return the locks of who waits under a name, none when it does not say."""
    connection = reach(name)
    if connection:
        with connection, suppress(OSError, ValueError, KeyError, TypeError):
            connection.settimeout(REACH_SECONDS)
            connection.send(ASK)
            return set(json.loads(connection.recv(MOST_BYTES))[HOLDS])
    return set()


def _end(names: Collection[str]) -> None:
    """Ask those to end that wait under these names, and wait until they have, or for too long."""
    until = time.monotonic() + ENDING_SECONDS
    with ExitStack() as stack:
        asked = [stack.enter_context(c) for c in map(reach, names) if c]
        for connection in asked:
            with suppress(OSError):
                connection.send(END)
        for connection in asked:
            with suppress(OSError):
                connection.settimeout(max(0.01, until - time.monotonic()))
                connection.recv(1)


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
