"""The commands that start a clip's ranks in a SLURM job: one task a node, torchrun in each."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

FIRST_PORT, PORTS = 20_000, 20_000
PATIENCE_SECONDS = 20
RUN_RANKS = Path(__file__).parents[2] / "run_ranks.py"


def step_command(nodes: int, gpus: int, cpus: int, task: list[str]) -> list[str]:
    """Return the srun command that runs `task` once on each of `nodes` nodes, with `cpus` CPUs.

    The CPUs have to be said: since SLURM 22.05, srun takes one unless it is told the job's number.
    The step shares the job's resources with Snakemake, which waits for it, and ends as a whole
    when one node fails.
    """
    return [
        "srun",
        "--overlap",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={cpus}",
        # Of a job that got its GPUs by another flag, too.
        f"--gres=gpu:{gpus // nodes}",
        "--kill-on-bad-exit=1",
        *task,
    ]


def ranks_command(
    nodes: int, ranks: int, program: list[str], environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Return the torchrun command of one node, which starts `ranks` ranks of `program`.

    The ranks of several nodes meet at the node that launched the step, at a port of the job's own.
    """
    if nodes == 1:
        meeting = ["--standalone"]
    else:
        job = environment["SLURM_JOB_ID"]
        address = environment["SLURM_LAUNCH_NODE_IPADDR"]
        port = FIRST_PORT + int(job) % PORTS
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}"]
        meeting += [f"--rdzv-endpoint={address}:{port}"]
    return [sys.executable, str(RUN_RANKS), *meeting, f"--nproc-per-node={ranks}", *program]


def seconds_left(environment: Mapping[str, str]) -> float | None:
    """Return the seconds until the time limit of this process's SLURM job, None if unknown."""
    command = ["squeue", "--noheader", "--format=%e", f"--jobs={environment.get('SLURM_JOB_ID')}"]
    asked = dict(environment) | {"SLURM_TIME_FORMAT": "standard"}
    options = {"capture_output": True, "text": True, "env": asked, "timeout": PATIENCE_SECONDS}
    # Without an answer, SLURM ends the job when it is time.
    with suppress(OSError, subprocess.TimeoutExpired, ValueError):
        end = subprocess.run(command, **options).stdout.strip()
        return datetime.fromisoformat(end).timestamp() - time.time()
    return None
