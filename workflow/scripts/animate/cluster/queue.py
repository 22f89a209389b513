"""The jobs of a run in SLURM's queue, and what is done for those that would never end there."""

import re
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
CLIP = re.compile(r"--target-jobs '\w+:clip=([^,'\s]+)")
# Reasons that waiting does not end (https://slurm.schedmd.com/job_reason_codes.html), each with the
# key of `cluster:` that does; sentences are what SLURM says instead of AccountNotAllowed and
# QOSNotAllowed. Limits that other jobs use up are none of them, nor is a node that is down.
NEVER = (
    (r"PartitionTimeLimit|\w+WallDurationPerJob\w*", "set max_minutes lower"),
    (r"InvalidAccount|AccountNotAllowed|Job's account.*", "correct account"),
    (r"InvalidQOS|QOSNotAllowed|QOSMin\w+|Job's QOS.*", "correct qos"),
    (r"PartitionNodeLimit|\w+NodePerJob\w*", "correct gpus_per_node, or give the clip fewer GPUs"),
    (
        r"BadConstraints|PartitionConfig|MaxMemPerLimit|(?:QOS|Assoc)Max\w+Per(?:Job|Node)\w*",
        "compare partition, constraint, gpus_per_node and cpus_per_gpu with what"
        " sinfo -o '%P %f %G %c %m' says",
    ),
)


FIELDS = "%i\t%T\t%P\t%r\t%V\t%Z\t%j"
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Job:
    """A job in the queue: its state, its partitions, why it waits, and the time it came, as ISO."""

    number: str
    state: str
    partition: str
    reason: str
    submitted: str


@dataclass(frozen=True)
class Hopeless:
    """A job that can never start; `clip` is empty for jobs that many clips share."""

    job: Job
    clip: str
    remedy: str

    def __str__(self) -> str:
        whose = f"clip {self.clip}" if self.clip else "all clips"
        return (
            f"SLURM job {self.job.number} of {whose} can never start ({self.job.reason}) and was"
            f" cancelled: under cluster: in config.yaml, {self.remedy}"
        )


# In Snakemake's log: the clip, and why its job was cancelled.
SAID = re.compile(r"^SLURM job \d+ of clip (\S+) (can never start .*)$", re.MULTILINE)


def jobs_of(folder: Path, *options: str) -> list[Job]:
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
    # The name comes last: it may hold anything.
    rows = [line.split("\t", FIELDS.count("\t")) for line in listed.stdout.splitlines()]
    here = str(folder.resolve())
    return [
        Job(*row[:5])
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


def waiting(jobs: Iterable[Job]) -> str:
    """Return how many jobs wait, and for what, or nothing."""
    reasons = Counter(job.reason for job in jobs if job.state == "PENDING")
    return "; ".join(f"{count} waiting: {reason}" for reason, count in reasons.most_common())


def remedy_of(reason: str) -> str:
    """Return what the user can do about a reason that waiting does not end, or nothing."""
    said = reason.replace("_", " ")
    return next((remedy for pattern, remedy in NEVER if re.fullmatch(pattern, said)), "")


def hopeless_jobs(jobs: Iterable[Job]) -> set[Job]:
    """Return those that can never start.

    Of a job with several partitions, the reason may be that of any one.
    """
    pending = [job for job in jobs if job.state == "PENDING" and "," not in job.partition]
    return {job for job in pending if remedy_of(job.reason)}


def cancel_hopeless(jobs: Iterable[Job]) -> list[Hopeless]:
    """Cancel jobs that can never start, and return them with what to do about each."""
    hopeless = [Hopeless(job, _clip(job), remedy_of(job.reason)) for job in jobs]
    if hopeless:
        # One that has started meanwhile was not hopeless.
        subprocess.run(["scancel", "--state=PENDING", *(found.job.number for found in hopeless)])
    return hopeless


def _clip(job: Job) -> str:
    """Return the clip that a job's script names: a group's comment does not."""
    command = ["scontrol", "write", "batch_script", job.number, "-"]
    script = subprocess.run(command, capture_output=True, text=True).stdout
    found = CLIP.search(script)
    return found[1] if found else ""
