"""How much of the host's memory is free for this process; asked without torch, so at once."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def free_host_memory() -> int:
    """Return the bytes that this process may take: of the system, and of its control groups.

    Files that the system keeps in memory give way, so they count as free.

    Raises:
        OSError: the system does not tell.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return min([int(available.split()[1]) << 10, *_free_in_groups()])


def _free_in_groups() -> Iterator[int]:
    """Yield the bytes left in each control group (version 2) that limits this process."""
    own = Path("/proc/self/cgroup").read_text().partition("0::")[2].splitlines()
    group = GROUPS / own[0].lstrip("/") if own else GROUPS
    while group != GROUPS and GROUPS in group.parents:
        with suppress(OSError, ValueError):
            yield free_in_group(group)
        group = group.parent


def free_in_group(group: Path) -> int:
    """Return the bytes left in a control group.

    Raises:
        OSError, ValueError: it has no limit.
    """
    limit = int((group / "memory.max").read_text())
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    files = int(stat["inactive_file"]) + int(stat["active_file"])
    return limit - int((group / "memory.current").read_text()) + files
