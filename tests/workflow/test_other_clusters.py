"""A cluster that is not SLURM: here, a shell on this machine, which starts what it is given."""

import re
from datetime import datetime

import pytest

from project import ROWS, finish, new_project

SUBMIT = """#!/bin/sh
# Prints a number for the job, as clusters do.
echo "$1" >> submitted
nohup sh "$1" > /dev/null 2>&1 &
echo $!
"""
PROFILE = """
executor: cluster-generic
cluster-generic-submit-cmd: ./submit
jobs: 8
latency-wait: 10
"""
pytestmark = pytest.mark.slow
TIME = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) clip \w+: "


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that submits to the shell, and may hold one GPU."""
    project = new_project(tmp_path_factory.mktemp("generic") / "a project")
    submit = project.folder / "submit"
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    (project.folder / "shell").mkdir()
    (project.folder / "shell/config.yaml").write_text(PROFILE)
    quick = project.folder / "quick.yaml"
    quick.write_text(quick.read_text() + "cluster: {max_gpus: 1, network: nodes}\n")
    project.profile = ("--profile", "shell")
    return project


def test_both_modes_are_finished_and_max_gpus_is_kept(project):
    said = finish(project)
    spans = []
    for clip in (row["clip"] for row in ROWS):
        assert (project.folder / f"results/{clip}/{clip}.mp4").stat().st_size
        log = (project.folder / f"logs/sample/{clip}.log").read_text()
        times = [datetime.fromisoformat(time) for time in re.findall(TIME, log)]
        assert "finished:" in log and "1 cpu rank" in log
        spans.append((times[0], times[-1]))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start
    assert "external jobid" in said.stderr


def test_a_users_mistake_is_submitted_once(project):
    (project.folder / "text.mp4").write_text("this is not a video")
    row = {"clip": "text", "video": "../text.mp4", "mode": "animate"}
    project.write_table(row | {"reference": "../text.mp4"})
    submitted = project.folder / "submitted"
    submitted.unlink(missing_ok=True)
    done = project.snakemake("--retries", "2", "results/text/preview.png", check=False)
    assert done.returncode == 1 and len(submitted.read_text().splitlines()) == 1
    (told, repeated) = (line for line in done.stderr.splitlines() if "text.mp4" in line)
    assert told.startswith("text: reference text.mp4") and repeated == f"  {told}"
    assert "Error in group" not in done.stderr and "tried again" not in done.stderr
