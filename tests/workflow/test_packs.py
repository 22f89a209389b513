"""Clips that share a submission: here to a shell on this machine, which starts what it is given."""

import os
import re

import pytest

from animate.demo.clips import write_demo
from project import new_project

SUBMIT = """#!/bin/sh
cp "$1" "submitted.$(basename "$1")"
nohup sh "$1" > /dev/null 2>&1 &
echo $!
"""
PROFILE = """
executor: cluster-generic
cluster-generic-submit-cmd: ./submit
jobs: 8
latency-wait: 10
keep-going: true
"""
SITE = "cluster: {max_gpus: 2, network: nodes, clips_per_job: 3}\n"
FILES = {"video": "../demo/driving.mp4", "reference": "../demo/character.png"}
ROW = {"clip": "a", **FILES, "mode": "animate", "end": "0.2", "seed": "1..6"}
CLIPS = ["a", *(f"a~seed{seed}" for seed in range(2, 7))]
VIDEOS = [f"results/{clip}/sampled.mp4" for clip in CLIPS]
TARGETS = re.compile(r"sample:clip=([\w~]+)")
LOAD = "loading the model from"
pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """Six clips, seeds of one row, that are prepared; three of them share a submission."""
    project = new_project(tmp_path / "a project")
    submit = project.folder / "submit"
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    (project.folder / "shell").mkdir()
    (project.folder / "shell/config.yaml").write_text(PROFILE)
    quick = project.folder / "quick.yaml"
    quick.write_text(quick.read_text() + SITE)
    write_demo(project.folder / "demo")
    project.write_table(ROW)
    project.snakemake(*VIDEOS, "--omit-from", "sample")
    project.profile = ("--profile", "shell")
    return project


def submissions(project):
    """Return the clips of each submission that samples, and forget them."""
    found = []
    for script in project.folder.glob("submitted.*"):
        found.append(sorted(TARGETS.findall(script.read_text())))
        script.unlink()
    return sorted(filter(None, found))


def log_of(project, clip):
    return (project.folder / f"logs/sample/{clip}.log").read_text()


def test_six_clips_are_two_submissions_with_one_load_each_and_a_failure_is_its_clips(project):
    # Of one clip, what the sampler reads is no video; as old as the video was.
    broken = project.folder / "results/a~seed2/src_pose.mp4"
    target, then = broken.resolve(), broken.stat().st_mtime_ns
    broken.unlink()
    broken.write_text("no video")
    os.utime(broken, ns=(then, then))
    said = project.snakemake(*VIDEOS, "--rerun-triggers", "mtime", check=False)
    packs = submissions(project)
    assert packs == [CLIPS[:3], CLIPS[3:]]
    assert [sum(log_of(project, c).count(LOAD) for c in pack) for pack in packs] == [1, 1]
    finished = [clip for clip in CLIPS if "finished: " in log_of(project, clip)]
    assert finished == [clip for clip in CLIPS if clip != "a~seed2"]
    assert said.returncode == 1 and "1 of 6 clips failed" in said.stderr, said.stderr
    logs = {clip: log_of(project, clip) for clip in finished}
    broken.unlink()
    broken.symlink_to(target)
    # A clip like it cannot be prepared, and is not waited for once that is known.
    (project.folder / "text.png").write_text("no picture")
    bad = ROW | {"clip": "bad", "reference": "../text.png", "seed": "0"}
    project.write_table(ROW, bad)
    videos = [*VIDEOS, "results/bad/sampled.mp4"]
    said = project.snakemake(*videos, "--rerun-triggers", "mtime", check=False)
    assert said.returncode == 1 and "bad: reference text.png" in said.stderr, said.stderr
    assert submissions(project) == [["a~seed2"]] and "finished: " in log_of(project, "a~seed2")
    assert {clip: log_of(project, clip) for clip in finished} == logs
