"""Why clips of a run are not finished: what Snakemake or SLURM said, and the end of a log file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from animate.watch.records import Fault

LAST_LINES, LINE_LENGTH, TAIL_BYTES = 3, 300, 8192


@dataclass(frozen=True)
class Failure:
    """A clip that is not finished, why, and the last lines of what its job wrote, if it did."""

    clip: str
    reason: str
    log: Path | None
    lines: list[str]

    def __str__(self) -> str:
        where = f"; end of {self.log}:" if self.lines else ""
        return "\n    ".join([f"  {self.clip}: {self.reason or 'failed'}{where}", *self.lines])


def failures(
    faults: Mapping[str, Fault], hopeless: Mapping[str, str], since: float
) -> list[Failure]:
    """Return why clips failed.

    Args:
        faults: the last fault of each clip that failed.
        hopeless: why jobs were cancelled that could never start, by their numbers in the queue.
        since: time of the run's start; older log files are of other runs.
    """
    return [_failure(clip, fault, hopeless, since) for clip, fault in faults.items()]


def _failure(clip: str, fault: Fault, hopeless: Mapping[str, str], since: float) -> Failure:
    reason = hopeless.get(fault.number, fault.said)[:LINE_LENGTH]
    written = [p for p in fault.logs if p.is_file() and p.stat().st_mtime >= since]
    if not written:
        return Failure(clip, reason, None, [])
    log = max(written, key=lambda path: path.stat().st_mtime)
    return Failure(clip, reason, log, last_lines(log))


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a text file that are not blank, each cut to a readable length."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line[:LINE_LENGTH] for line in lines if line.strip()][-count:]
