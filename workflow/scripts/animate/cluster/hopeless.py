"""Jobs that SLURM would keep for ever: found by the reason it gives, cancelled, and explained."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from animate.cluster.queue import Job

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
