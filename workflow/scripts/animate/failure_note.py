"""The file beside a job's log file by which the job tells the run why it failed."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from animate.errors import ClipError, MachineError


@dataclass(frozen=True)
class FailureNote:
    """Why a job failed, in one sentence, and whether another attempt would fail alike."""

    sentence: str
    final: bool


def note_of(error: Exception) -> FailureNote:
    """Return what there is to say of an error: on one line, and the type's name of a defect."""
    sentence = " ".join(str(error).split())
    if not isinstance(error, ClipError):
        return FailureNote(f"{type(error).__name__}: {sentence}", final=False)
    return FailureNote(sentence, final=not isinstance(error, MachineError))


class Told(ClipError):
    """An error of a clip that `tell` has told."""


def tell(error: Exception, log: Path | None, say: Callable[[str], None]) -> None:
    """Write the note of an error by the job's log file, and say it."""
    note = note_of(error)
    write_note(log, note)
    say(f"error: {note.sentence}")


def write_note(log: Path | None, note: FailureNote) -> None:
    """Write the note of a job by its log file; without one, or on a full disk, there is none."""
    if log is not None:
        path = _note_file(log)
        temporary = path.with_suffix(".part")
        with suppress(OSError):
            temporary.write_text(json.dumps(asdict(note), ensure_ascii=False) + "\n", "utf-8")
            temporary.replace(path)


def add_note(log: Path | None, note: FailureNote) -> None:
    """Write the note of a job unless there is one, of who knew more."""
    if log is not None and not _note_file(log).exists():
        write_note(log, note)


def remove_note(log: Path | None) -> None:
    """Remove what an earlier attempt wrote."""
    if log is not None:
        _note_file(log).unlink(missing_ok=True)


def read_note(log: Path, since: float) -> FailureNote | None:
    """Return the note of a job by its log file, None where none was written since a time."""
    path = _note_file(log)
    # There may be none, or one that another version wrote.
    with suppress(OSError, ValueError, TypeError):
        if path.stat().st_mtime >= since:
            return FailureNote(**json.loads(path.read_text("utf-8")))
    return None


def log_of_sampler(settings: Path) -> Path | None:
    """Return the log file that the sampler's settings file names, None where it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads(settings.read_text("utf-8"))["progress"])
    return None


def _note_file(log: Path) -> Path:
    return log.with_suffix(".failure.json")
