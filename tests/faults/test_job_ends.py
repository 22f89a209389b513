"""Clips of a job of SLURM near its time limit, which a program in place of squeue knows."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from sampler_clip import write_clip, write_model

LAUNCHER = Path(__file__).parents[2] / "workflow/scripts/launch_sampler.py"
SQUEUE = "#!/bin/sh\necho {end}\n"
# More than there is time for: it is stopped.
ENDLESS = {"segment_frames": 5, "steps": 200}
TIMEOUT = 60
STOPPED = "stopped"
pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Start a clip's launcher in a job that ends so many seconds from now."""
    run = subprocess.Popen(["sleep", "600"])

    def start(path: Path, left: float, before: float) -> subprocess.Popen:
        end = datetime.fromtimestamp(time.time() + left).isoformat(timespec="seconds")
        squeue = tmp_path / "squeue"
        squeue.write_text(SQUEUE.format(end=end))
        squeue.chmod(0o755)
        options = ["--gpus=1", "--nodes=1", "--cpus=1", "--device=cpu", "--warm-seconds=60"]
        options += [f"--run={run.pid}", f"--stop-before={before}", path]
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "1"}
        environment |= {"OMP_NUM_THREADS": "1", "WAN_ANIMATE_LEASES": str(tmp_path / "leases")}
        return subprocess.Popen(
            [sys.executable, LAUNCHER, *options],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As Snakemake has it in a job.
            preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        )

    yield start
    run.kill()
    run.wait()


def test_a_clip_is_told_to_stop_before_its_jobs_end_and_none_is_begun_after(start, tmp_path):
    model = write_model(tmp_path / "model")
    path = write_clip(tmp_path / "clip", model, 101, "animate", **ENDLESS)
    begun = time.monotonic()
    process = start(path, left=30, before=15)
    said, _ = process.communicate(timeout=TIMEOUT)
    # Long before the job's end, and not at once.
    assert process.returncode == 1 and 8 < time.monotonic() - begun < 28, said
    note = json.loads((path.parent / "progress.failure.json").read_text())
    assert STOPPED in note["sentence"] and not note["final"], note
    next_one = write_clip(tmp_path / "next", model, 101, "animate", **ENDLESS)
    process = start(next_one, left=10, before=15)
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and "left to another job" in said
    # Nothing tells of an attempt.
    assert not (next_one.parent / "progress.log").exists()
    assert not (next_one.parent / "progress.failure.json").exists()
