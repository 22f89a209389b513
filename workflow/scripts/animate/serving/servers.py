"""The servers of a machine: what they are called, and which of them wait for a clip.

A server is a name in Linux's abstract namespace of sockets while it waits, and has none while it
samples. So a name is never left behind, and whoever reaches a server finds it free.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from animate.serving.messages import END, is_own, send

SOCKETS = Path("/proc/net/unix")
# Of a socket that listens, among the flags of that table.
LISTENING = 0x10000
PREFIX = "wan-animate-warm"


@dataclass(frozen=True)
class Run:
    """A Snakemake process, told from a later one of the same number by when it started."""

    pid: int
    started: int | None

    @classmethod
    def of(cls, pid: int) -> "Run":
        """Return the run whose process has this number."""
        return cls(pid, _started(pid))

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return self.started is not None and _started(self.pid) == self.started


@dataclass(frozen=True)
class Servers:
    """The servers of a run that hold GPUs by the locks of a folder, and have loaded `key`."""

    leases: Path
    run: Run
    key: str

    @property
    def machine(self) -> str:
        """How the names of all servers begin that share these GPUs."""
        return f"{PREFIX}/{sha256(str(self.leases).encode()).hexdigest()[:12]}/"

    @property
    def own(self) -> str:
        """How the names of these servers begin."""
        return f"{self.machine}{self.run.pid}.{self.run.started}/{self.key}/"

    def connect(self) -> Iterator[socket.socket]:
        """Yield connections to those that wait for a clip; another job may be quicker."""
        for name in waiting(self.own):
            connection = _connect(name)
            if connection:
                with connection:
                    if is_own(connection):
                        yield connection

    def end_waiting(self) -> None:
        """Have all servers end that hold GPUs of the folder while they wait for a clip."""
        for name in waiting(self.machine):
            connection = _connect(name)
            if connection:
                with connection:
                    send(connection, END)


def listen(beginning: str) -> socket.socket:
    """Return a socket at which jobs find this process, a server, by the beginning of its name."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0{beginning}{os.getpid()}")
    listener.listen()
    return listener


def waiting(beginning: str) -> list[str]:
    """Return the names of waiting servers that begin so."""
    names = []
    with suppress(OSError):
        for line in SOCKETS.read_text("utf-8", "replace").splitlines()[1:]:
            fields = line.split()
            if fields[-1].startswith(f"@{beginning}") and int(fields[3], 16) & LISTENING:
                names.append(fields[-1][1:])
    return names


def _connect(name: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0{name}")
    except OSError:
        connection.close()
        return None
    return connection


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did; None when none runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
