"""Samplers that share a submission on a real SLURM, one of which is stopped by its time limit."""

import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from animate.demo.clips import write_demo
from conftest import FILES, PATIENCE, SETTINGS, Cluster, wait_until
from project import new_project

SHORT = ["a", *(f"a~seed{seed}" for seed in range(2, 6))]
CLIPS = [*SHORT, "long"]
ROWS = (
    {"clip": "a", **FILES, "mode": "animate", "end": "0.5", "seed": "1..5"},
    {"clip": "long", **FILES, "mode": "animate", "end": "2", "steps": "8", "segment_frames": "9"},
)
VIDEOS = [f"results/{clip}/sampled.mp4" for clip in CLIPS]
TARGET = re.compile(r"sample:clip=([\w~]+)")
LOAD = "loading the model from"


@pytest.fixture(scope="module")
def project(cluster, tmp_path_factory):
    """Six clips that are prepared: five seeds of one row, and one of several segments."""
    project = Cluster(new_project(tmp_path_factory.mktemp("packs") / "clips").folder)
    quick = project.folder / "quick.yaml"
    quick.write_text(SETTINGS.replace("cluster:", "cluster:\n  clips_per_job: 3"))
    write_demo(project.folder / "demo")
    project.write_table(*ROWS)
    submits, project.profile = project.profile, ("--profile", "local")
    project.snakemake(*VIDEOS, "--omit-from", "sample")
    project.profile = submits
    return project


def log_of(project: Cluster, clip: str) -> str:
    return (project.folder / f"logs/sample/{clip}.log").read_text()


def clips_of(job) -> list[str]:
    """Return the clips that a job of SLURM samples."""
    command = ["scontrol", "write", "batch_script", str(job.number), "-"]
    script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(TARGET.findall(script))


def segments(project: Cluster) -> int:
    """Return how many segments of the long clip are finished."""
    journal = project.folder / "results/long/.journal"
    return len([*journal.rglob("segment_*.safetensors")])


def halt(job) -> None:
    """Have the ranks of a job of SLURM do nothing more, for its time limit to find them at it."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            mine = f"SLURM_JOB_ID={job.number}".encode() in (process / "environ").read_bytes()
            if mine and b"sample.py\0" in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGSTOP)


def test_packs_that_meet_a_limit_go_on_where_they_were(project):
    process = project.start("--retries", "0", *VIDEOS)
    try:
        wait_until(lambda: segments(project), process)
        (struck,) = (j for j in project.jobs if j.kind == "sample" and "long" in clips_of(j))
        halt(struck)
        # SLURM looks at time limits every half a minute.
        limit = ["scontrol", "update", f"jobid={struck.number}", "timelimit=1"]
        subprocess.run(limit, check=True)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    samplers = [job for job in project.jobs if job.kind == "sample"]
    first, second = sorted(samplers[:2], key=clips_of)
    assert [clips_of(first), clips_of(second)] == [CLIPS[:3], CLIPS[3:]]
    assert first.gpus == second.gpus == 1
    # What the struck job had no time for has had another one.
    assert {job.number: job.state for job in samplers} == {
        first.number: "COMPLETED",
        second.number: "TIMEOUT",
        **{job.number: "COMPLETED" for job in samplers[2:]},
    }
    assert process.returncode == 1 and "1 of 6 clips failed, 0 more" in said
    assert "\n  long: " in said
    assert sum(log_of(project, clip).count(LOAD) for clip in CLIPS[:3]) == 1
    kept, logs = segments(project), {clip: log_of(project, clip) for clip in SHORT}
    assert all("finished: " in log for log in logs.values()) and kept

    project.snakemake("--retries", "0", *VIDEOS)
    (last,) = (job for job in project.jobs if job.kind == "sample" and job not in samplers)
    assert clips_of(last) == ["long"] and last.state == "COMPLETED"
    assert {clip: log_of(project, clip) for clip in SHORT} == logs
    assert f"{kept} of them" in log_of(project, "long"), log_of(project, "long")
    project.assert_whole()
