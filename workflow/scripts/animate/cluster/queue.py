"""The jobs of a run in SLURM's queue: which there are, why they wait, pre-empted ones put back."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from animate.errors import ClipError

# As in profiles/slurm: the names of this workflow's jobs start with it.
JOB_NAMES = "wan-animate"
FIELDS = "%i\t%T\t%P\t%r\t%V\t%Z\t%j\t%k"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue: its state, its partitions, why it waits, and the time it came, as ISO.

    `comment` is what Snakemake's plugin says of it there.
    """

    number: str
    state: str
    partition: str
    reason: str
    submitted: str
    comment: str

    @property
    def clip(self) -> str:
        """The clip of the job, "" for one that many share.

        Its groups are named GROUP:CLIP: in the rules; what has no group has its wildcards there.
        """
        _, group, rest = self.comment.partition(":")
        if group:
            return rest.partition(":")[0]
        rule, _, wildcards = self.comment.partition("_wildcards_")
        return wildcards if rule.endswith("sample") else ""


def jobs_of(folder: Path, *options: str) -> list[QueuedJob]:
    """Return this user's jobs that were submitted from `folder` by this workflow.

    `options` of squeue say which; pending and running ones without any.

    Raises:
        ClipError: squeue failed, or did not answer.
    """
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--noheader", "--me", f"--format={FIELDS}", *options]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        listed.check_returncode()
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        said = (error.stderr or "no answer").strip()
        raise ClipError(f"squeue failed: {said}; try again when SLURM answers") from error
    # The comment comes last: it may hold anything.
    rows = [line.split("\t", FIELDS.count("\t")) for line in listed.stdout.splitlines()]
    here = str(folder.resolve())
    return [
        QueuedJob(*row[:5], comment=row[7])
        for row in rows
        if len(row) > FIELDS.count("\t") and row[5] == here and row[6].startswith(JOB_NAMES)
    ]


def requeue_preempted(folder: Path, since: float) -> None:
    """Put the jobs of `folder` back into the queue that a site cancels where it pre-empts.

    `since`: time of the run's start; older jobs are of runs that no longer wait for them.

    Raises:
        ClipError: squeue failed.
    """
    for job in jobs_of(folder, "--states=PREEMPTED"):
        if datetime.fromisoformat(job.submitted).timestamp() >= int(since):
            subprocess.run(["scontrol", "requeue", job.number], capture_output=True)


def waiting(jobs: Iterable[QueuedJob]) -> str:
    """Return how many jobs wait, and for what, or nothing."""
    reasons = Counter(job.reason for job in jobs if job.state == "PENDING")
    return "; ".join(f"{count} waiting: {reason}" for reason, count in reasons.most_common())
