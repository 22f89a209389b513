"""What the launcher sets for the ranks of a job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch_sampler import rank_environment
from sampler_clip import write_clip, write_model

LAUNCHER = Path(__file__).parents[2] / "workflow/scripts/launch_sampler.py"


@pytest.fixture
def job(tmp_path):
    (tmp_path / "models").mkdir()
    path = tmp_path / "sampled.json"
    path.write_text(json.dumps({"model": str(tmp_path / "models" / "wan")}))
    return path


def test_ranks_share_the_threads_of_the_job(job):
    given = {"OMP_NUM_THREADS": "4"}
    threads = [rank_environment(given, ranks, job)["OMP_NUM_THREADS"] for ranks in (1, 2, 8)]
    assert threads == ["4", "2", "1"]
    assert rank_environment({}, 1, job)["OMP_NUM_THREADS"] == str(os.cpu_count())


@pytest.mark.parametrize("name", ["TORCHINDUCTOR_CACHE_DIR", "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"])
def test_compiled_code_is_kept_beside_the_models(job, name):
    kept = rank_environment({}, 1, job)[name]
    assert kept.startswith(str(job.parent / "models" / ".compiled"))
    assert name not in rank_environment({name: "elsewhere"}, 1, job)
    job.write_text("no json")
    assert name not in rank_environment({}, 1, job)


def launch(settings: Path, path: str, *options: str) -> subprocess.CompletedProcess:
    """Sample on the CPU in a job of SLURM, with the programs of `path`."""
    return subprocess.run(
        [sys.executable, LAUNCHER, "--device=cpu", *options, settings],
        env=os.environ | {"PATH": path, "SLURM_JOB_ID": "7"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_srun_is_told_the_cpus_of_the_job(tmp_path, job):
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    said = launch(job, str(srun.parent), "--nodes=2", "--gpus=4", "--cpus=16").stdout.split()
    assert {"--nodes=2", "--cpus-per-task=16", "--gres=gpu:2"} <= set(said)


def test_a_container_without_srun_samples_on_one_node(tmp_path):
    path = write_clip(tmp_path / "clip", write_model(tmp_path / "model"), 5, segment_frames=5)
    done = launch(path, str(tmp_path), "--nodes=1", "--gpus=2")
    assert done.returncode == 0, done.stderr
    assert "2 cpu rank" in done.stdout + done.stderr and (path.parent / "sampled.mp4").exists()


def test_a_container_without_srun_cannot_reach_other_nodes(tmp_path, job):
    done = launch(job, str(tmp_path), "--nodes=2", "--gpus=8")
    assert done.returncode == 1 and done.stderr == ""
    assert "8 GPUs are 2 nodes" in done.stdout and "at most 4" in done.stdout
