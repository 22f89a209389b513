"""Why a clip is not finished, told after a run by the files that its jobs left."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animate.failure_note import read_note


@dataclass(frozen=True)
class Unfinished:
    """A clip without result, why, and the log file of its last job, None before the first."""

    clip: str
    why: str
    log: Path | None

    def __str__(self) -> str:
        return f"{self.clip}: {self.why}"


def unfinished(clip: str, logs: Iterable[Path]) -> Unfinished:
    """Return why a clip is not finished; `logs` are the log files of its jobs."""
    last = max(logs, key=lambda log: log.stat().st_mtime, default=None)
    if last is None:
        return Unfinished(clip, "not started", None)
    note = read_note(last, since=0)
    return Unfinished(clip, note.sentence if note else "not finished", last)
