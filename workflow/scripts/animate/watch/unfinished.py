"""Why a clip is not finished, told after a run by the files that its jobs left."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animate.failure_note import read_note
from animate.watch.overtaken import overtaken


@dataclass(frozen=True)
class Unfinished:
    """A clip without result, why, and the log file of its last job, None before the first."""

    clip: str
    why: str
    log: Path | None

    def __str__(self) -> str:
        return f"{self.clip}: {self.why}"


def unfinished(clip: str, logs: Iterable[Path], folder: Path, waits_for: str = "") -> Unfinished:
    """Return why a clip is not finished; `logs` are the log files of its jobs.

    `folder` is where its files are, `waits_for` a clip whose result it takes, while that is not
    there.
    """
    found = sorted(logs, key=lambda log: log.stat().st_mtime, reverse=True)
    for log in found:
        # A job that starts again removes its note.
        note = read_note(log, since=0)
        # The note was written with the log's last line.
        if note and not overtaken(log.parent.name, log.stat().st_mtime, folder):
            return Unfinished(clip, note.sentence, log)
    if waits_for:
        return Unfinished(clip, f"waits for {waits_for}, whose result it takes", None)
    if not found:
        return Unfinished(clip, "not started", None)
    return Unfinished(clip, "not finished", found[0])
