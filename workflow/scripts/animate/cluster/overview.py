"""Where a run stands: how many clips are finished, and why the others are not."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from animate.cluster.hopeless import SAID

LAST_LINES, LINE_LENGTH, SHOWN = 3, 300, 5
# In Snakemake's log: what was said of a failed job, and the log files of its rules.
FAILED = re.compile(r"^Error in (?:rule|group) .*\n(?:^(?:(?!\[)[^\n])*\n)+", re.MULTILINE)
MESSAGE = re.compile(r"message: (?!None|For further)(.*?)(?:Detailed failure|For further|$)", re.M)
LOG = re.compile(r"log: (.+?)(?: \(check log file.*)?$", re.MULTILINE)
STEP = re.compile(r"(segment \d+/\d+ step \d+/\d+).*?(about .* left)?$")


@dataclass(frozen=True)
class Failure:
    """A clip that is not finished: what SLURM or Snakemake said, and the end of its log file."""

    clip: str
    reason: str
    log: Path | None
    lines: list[str]

    def __str__(self) -> str:
        where = f"; end of {self.log}:" if self.lines else ""
        return "\n    ".join([f"  {self.clip}: {self.reason or 'failed'}{where}", *self.lines])


def find_failures(console: str, logs: Mapping[str, Iterable[Path]], since: float) -> list[Failure]:
    """Return the failed ones of the unfinished clips.

    Args:
        console: what Snakemake logged.
        logs: of each unfinished clip, the log files of its unfinished rules.
        since: time of the run's start; older log files are of other runs.
    """
    said = _reasons(console)
    found = [f for clip, paths in logs.items() if (f := _failure(clip, list(paths), said, since))]
    hopeless = dict(SAID.findall(console))
    return [
        replace(f, reason=hopeless[f.clip]) if f.clip in hopeless and "CANCELLED" in f.reason else f
        for f in found
    ]


def _failure(clip: str, paths: list[Path], said: dict[Path, str], since: float) -> Failure | None:
    failed = [path for path in paths if path in said]
    if not failed:
        return None
    written = [p for p in failed if p.is_file() and p.stat().st_mtime >= since]
    if not written:
        return Failure(clip, said[failed[0]], None, [])
    log = max(written, key=lambda path: path.stat().st_mtime)
    return Failure(clip, said[log], log, last_lines(log))


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a text file that are not blank, each cut to a readable length."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line[:LINE_LENGTH] for line in lines if line.strip()][-count:]


def _reasons(console: str) -> dict[Path, str]:
    """Return what was last said of each failed job, by its log file."""
    found = {}
    for block in FAILED.findall(console):
        message = MESSAGE.search(block)
        for log in ", ".join(LOG.findall(block)).split(", "):
            found[Path(log)] = message[1].strip()[:LINE_LENGTH] if message else ""
    return found


def overview(unfinished: Mapping[str, Path], total: int, since: float) -> str:
    """Return one line on all clips: the finished ones, and where those being sampled are.

    `unfinished`: the sampler's log file of each clip that this run has not finished.
    """
    steps = {clip: step for clip, log in unfinished.items() if (step := _step(log, since))}
    shown = [f"{clip} {step}" for clip, step in list(steps.items())[:SHOWN]]
    more = [f"{len(steps) - SHOWN} more"] if len(steps) > SHOWN else []
    sampling = f", {len(steps)} sampling: {'; '.join(shown + more)}" if steps else ""
    return f"clips: {total - len(unfinished)} of {total} finished{sampling}"


def _step(log: Path, since: float) -> str | None:
    """Return the last step that a log file of this run reports."""
    try:
        if log.stat().st_mtime < since:
            return None
    except FileNotFoundError:
        return None
    found = [match for line in last_lines(log) if (match := STEP.search(line))]
    return " ".join(part for part in found[-1].groups() if part) if found else None
