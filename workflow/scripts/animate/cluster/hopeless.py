"""Jobs that SLURM would keep for ever: found by the reason it gives, cancelled, and explained."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from animate.cluster.queue import Job

# Reasons that waiting does not end (https://slurm.schedmd.com/job_reason_codes.html), each with the
# key of `cluster:` that does; sentences are what SLURM says instead of AccountNotAllowed and
# QOSNotAllowed. Limits that other jobs use up are none of them, nor is a node that is down.
NEVER = (
    ("PartitionTimeLimit *WallDurationPerJob*", "set max_minutes lower"),
    (
        "InvalidAccount AccountNotAllowed Job's_account*",
        "correct account, for jobs with GPUs gpu_account",
    ),
    ("InvalidQOS QOSNotAllowed QOSMin* Job's_QOS*", "correct qos, for jobs with GPUs gpu_qos"),
    ("PartitionNodeLimit *NodePerJob*", "correct gpus_per_node, or give the clip fewer GPUs"),
    (
        "BadConstraints PartitionConfig MaxMemPerLimit"
        " QOSMax*PerJob* QOSMax*PerNode* AssocMax*PerJob* AssocMax*PerNode*",
        "compare partition, constraint, gpus_per_node and cpus_per_gpu with what"
        " sinfo -o '%P %f %G %c %m' says",
    ),
)


@dataclass(frozen=True)
class Hopeless:
    """A job that can never start, and what the user can do about it."""

    job: Job
    remedy: str

    @property
    def reason(self) -> str:
        """Why the job was cancelled."""
        return (
            f"can never start ({self.job.reason}) and was cancelled: under cluster: in config.yaml,"
            f" {self.remedy}"
        )

    def __str__(self) -> str:
        whose = f"clip {self.job.clip}" if self.job.clip else "all clips"
        return f"SLURM job {self.job.number} of {whose} {self.reason}"


def remedy_of(reason: str) -> str:
    """Return what the user can do about a reason that waiting does not end, or nothing."""
    code = reason.replace(" ", "_")
    return next(
        (remedy for codes, remedy in NEVER if any(fnmatchcase(code, c) for c in codes.split())), ""
    )


def hopeless_jobs(jobs: Iterable[Job]) -> set[Job]:
    """Return those that can never start.

    Of a job with several partitions, the reason may be that of any one.
    """
    pending = [job for job in jobs if job.state == "PENDING" and "," not in job.partition]
    return {job for job in pending if remedy_of(job.reason)}


def cancel_hopeless(jobs: Iterable[Job]) -> list[Hopeless]:
    """Cancel jobs that can never start, and return them with what to do about each."""
    hopeless = [Hopeless(job, remedy_of(job.reason)) for job in jobs]
    if hopeless:
        # One that has started meanwhile was not hopeless.
        subprocess.run(["scancel", "--state=PENDING", *(found.job.number for found in hopeless)])
    return hopeless
