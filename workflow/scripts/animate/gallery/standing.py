"""Where a clip stands, told by the files that its jobs left."""

from dataclasses import dataclass
from pathlib import Path

from animate.failure_note import read_note
from animate.sampling.progress import duration, read_progress
from animate.watch.overtaken import overtaken

FINISHED, FAILED, SAMPLING, WAITING = "finished", "failed", "sampling", "waiting"


@dataclass(frozen=True)
class Standing:
    """One of the four states, a sentence on it or "", and a job's log file that may tell more."""

    state: str
    why: str = ""
    log: Path | None = None


def standing(clip: str, results: Path, logs: Path, running_since: float | None) -> Standing:
    """Return where a clip stands.

    `running_since` is the time at which a run started that is alive, None without one.
    """
    made = [results / clip / f"{clip}{suffix}" for suffix in (".mp4", ".html")]
    finished = _time(made[-1]) if all(path.is_file() for path in made) else 0.0
    # Notes are removed when their job starts again; what is older than the result, or was
    # overtaken, is of a stage that the clip no longer has.
    for path in sorted(logs.glob(f"*/{clip}.failure.json"), key=_time, reverse=True):
        log = path.with_name(f"{clip}.log")
        if overtaken(path.parent.name, _time(path), results / clip):
            continue
        if note := read_note(log, since=finished):
            return Standing(FAILED, note.sentence, _there(log))
    if running_since is not None:
        log = logs / "sample" / f"{clip}.log"
        if step := read_progress(log, since=max(running_since, finished)):
            left = step.seconds_left
            rest = "" if left is None else f", about {duration(left)} left"
            done = f"segment {step.segment}/{step.segments}, step {step.step}/{step.steps}"
            return Standing(SAMPLING, done + rest, _there(log))
    if finished:
        return Standing(FINISHED)
    written = sorted(logs.glob(f"*/{clip}.log"), key=_time)
    return Standing(
        WAITING, "begun" if written else "not started", written[-1] if written else None
    )


def _there(log: Path) -> Path | None:
    return log if log.is_file() else None


def _time(path: Path) -> float:
    return path.stat().st_mtime
