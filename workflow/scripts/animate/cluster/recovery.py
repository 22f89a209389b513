"""After Snakemake was killed: its jobs cancelled and its lock removed, if it really is dead."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from animate.cluster.queue import jobs_of
from animate.errors import ClipError

LOCKS = Path(".snakemake/locks")
WAIT_SECONDS, POLL_SECONDS = 120, 1


def note_run(path: Path) -> None:
    """Write down who runs the workflow here: host, process and when that process started."""
    pid = os.getpid()
    path.parent.mkdir(parents=True, exist_ok=True)
    run = {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid)}
    path.write_text(json.dumps(run) + "\n")


def forget_run(path: Path) -> None:
    """Remove the note at the run's end."""
    path.unlink(missing_ok=True)


def recover(folder: Path, note: Path, say: Callable[[str], None]) -> None:
    """Cancel the jobs that a dead run left in the queue and remove its lock.

    Args:
        folder: the run's working directory.
        note: what `note_run` wrote.

    Raises:
        ClipError: the run is alive, or on another machine, or its jobs do not end.
    """
    _refuse_while_alive(note)
    jobs = [job.number for job in jobs_of(folder)]
    if jobs:
        subprocess.run(["scancel", *jobs], check=True)
        say(f"cancelled {len(jobs)} jobs of {folder}: {' '.join(jobs)}")
        _wait_for_end(folder)
    else:
        say(f"no jobs of {folder} are in the queue")
    if (folder / LOCKS).is_dir():
        shutil.rmtree(folder / LOCKS)
        say("removed the lock: run the same command again")
    forget_run(note)


def _refuse_while_alive(note: Path) -> None:
    with suppress(FileNotFoundError):
        run = json.loads(note.read_text())
        if run["host"] != socket.gethostname():
            raise ClipError(
                f"the run was started on {run['host']} (process {run['pid']}): run this there, or"
                f" delete {note} if that machine is gone"
            )
        if _start_time(run["pid"]) == run["started"]:
            raise ClipError(
                f"a run is alive here, process {run['pid']}: let it finish, or end it with"
                f" kill {run['pid']}"
            )


def _start_time(pid: int) -> int | None:
    """Return the clock ticks at which a process started, None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _wait_for_end(folder: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while left := jobs_of(folder):
        if time.monotonic() > deadline:
            numbers = " ".join(job.number for job in left)
            raise ClipError(f"jobs {numbers} do not end; see squeue and try again")
        time.sleep(POLL_SECONDS)
