"""Why jobs of a run failed: what they, Snakemake or SLURM said, and the end of a log file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from animate.watch.records import Fault, PlannedJob

LAST_LINES, LINE_LENGTH, TAIL_BYTES = 3, 300, 8192


@dataclass(frozen=True)
class Failure:
    """A clip that is not finished, or a rule of no clip, why, and the end of its job's log file.

    `lines` are the last ones of `log`, none where the job gave its reason itself.
    """

    name: str
    reason: str
    log: Path | None
    lines: list[str]

    def __str__(self) -> str:
        where = f"; end of {self.log}:" if self.lines else f"; see {self.log}" if self.log else ""
        return "\n    ".join([f"{self.name}: {self.reason or 'failed'}{where}", *self.lines])


def failures(
    faults: Mapping[str, Fault], hopeless: Mapping[str, str], since: float
) -> list[Failure]:
    """Return why jobs failed.

    Args:
        faults: the last fault of each clip that failed, or rule of no clip.
        hopeless: why jobs were cancelled that could never start, by their numbers in the queue.
        since: time of the run's start; older log files are of other runs.
    """
    return [failure_of(name, fault, hopeless, since) for name, fault in faults.items()]


def waiting_clips(
    unfinished: Mapping[str, Iterable[PlannedJob]], sources: Mapping[str, Iterable[str]]
) -> dict[str, str]:
    """Return those of the unfinished clips that wait for another one's frames, and for whose.

    `sources` maps a clip to those whose results it takes.
    """
    making = {
        clip for clip, jobs in unfinished.items() if any(j.rule == "intermediate" for j in jobs)
    }
    waits = {clip: [one for one in sources.get(clip, ()) if one in making] for clip in unfinished}
    return {clip: others[0] for clip, others in waits.items() if others}


def failure_of(name: str, fault: Fault, hopeless: Mapping[str, str], since: float) -> Failure:
    """Return why one of them failed."""
    said = fault.note.sentence if fault.note else fault.said[:LINE_LENGTH]
    reason = hopeless.get(fault.number, said)
    written = [p for p in fault.logs if p.is_file() and p.stat().st_mtime >= since]
    if not written:
        return Failure(name, reason, None, [])
    log = max(written, key=lambda path: path.stat().st_mtime)
    return Failure(name, reason, log, [] if fault.note else last_lines(log))


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a text file that are not blank, each cut to a readable length."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line[:LINE_LENGTH] for line in lines if line.strip()][-count:]
