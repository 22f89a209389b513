"""The servers of a run: what they are called, and those that wait for a clip."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from animate.devices.idle import END, idle_names, reach, waiting
from animate.serving.messages import is_own


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


def server_names(leases: Path, run: Run, key: str) -> str:
    """Return how the names of a run's servers begin that have loaded what `key` says.

    `leases` is the folder of the GPUs' locks.
    """
    return f"{_names_of(leases, run)}{key}/"


def end_others(leases: Path, run: Run, names: str) -> None:
    """Ask those of a run's servers to end that wait and whose names do not begin with `names`."""
    for name in waiting(_names_of(leases, run)):
        if not name.startswith(names) and (connection := reach(name)):
            with connection, suppress(OSError):
                connection.send(END)


def waiting_servers(names: str) -> Iterator[socket.socket]:
    """Yield connections to those that wait and have such names; another job may be quicker."""
    for name in waiting(names):
        connection = reach(name)
        if connection:
            with connection:
                if is_own(connection):
                    yield connection


def _names_of(leases: Path, run: Run) -> str:
    return f"{idle_names(leases)}{run.pid}.{run.started}/"


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since the machine did; None when none runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
