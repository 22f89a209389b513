"""The jobs of a run in SLURM's queue, and the end of those that would wait there for ever."""

import re
import shutil
import subprocess
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Job:
    """A job in the queue and the reason why it waits, as squeue says it."""

    number: str
    reason: str


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


def jobs_of(folder: Path) -> list[Job]:
    """Return this user's jobs that were submitted from `folder` by this workflow.

    Raises:
        ClipError: squeue failed.
    """
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--noheader", "--me", "--format=%i\t%j\t%r\t%Z"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        raise ClipError(f"squeue failed: {listed.stderr.strip()}; try again when SLURM answers")
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    here = str(folder.resolve())
    return [
        Job(number, reason)
        for number, name, reason, where in rows
        if name.startswith(JOB_NAMES) and where == here
    ]


def remedy_of(reason: str) -> str:
    """Return what the user can do about a reason that waiting does not end, or nothing."""
    said = reason.replace("_", " ")
    return next((remedy for pattern, remedy in NEVER if re.fullmatch(pattern, said)), "")


def cancel_hopeless(folder: Path) -> list[Hopeless]:
    """Cancel the jobs of `folder` that can never start, and return them.

    Raises:
        ClipError: squeue failed.
    """
    found = [(job, remedy) for job in jobs_of(folder) if (remedy := remedy_of(job.reason))]
    hopeless = [Hopeless(job, _clip(job), remedy) for job, remedy in found]
    if hopeless:
        # One that has started meanwhile was not hopeless.
        subprocess.run(["scancel", "--state=PENDING", *(job.number for job, _ in found)])
    return hopeless


def _clip(job: Job) -> str:
    """Return the clip that a job's script names: a group's comment does not."""
    command = ["scontrol", "write", "batch_script", job.number, "-"]
    script = subprocess.run(command, capture_output=True, text=True).stdout
    found = CLIP.search(script)
    return found[1] if found else ""
