"""A run for SLURM on a machine that has none, and one whose jobs SLURM refuses."""

import shutil
from pathlib import Path

import pytest

from animate.demo.clips import write_demo
from project import ROWS, new_project

PLACES = "/usr/bin", "/bin"
SLURM = {"sbatch", "squeue", "sinfo", "scontrol", "scancel", "srun", "sacct", "sacctmgr", "sshare"}
REFUSED = "sbatch: error: Batch job submission failed: Invalid account or account/partition"


@pytest.fixture
def project(tmp_path):
    """A project of one clip, on a machine of which SLURM's programs are hidden."""
    project = new_project(tmp_path / "a project")
    write_demo(project.folder / "demo")
    files = {"video": "../demo/driving.mp4", "reference": "../demo/character.png"}
    project.write_table(ROWS[0] | files)
    project.profile = ("--profile", "slurm", "--retries", "0")
    programs = tmp_path / "bin"
    programs.mkdir()
    names = {path.name for folder in PLACES for path in Path(folder).iterdir()} - SLURM
    for name in names:
        (programs / name).symlink_to(shutil.which(name, path=":".join(PLACES)) or "/nowhere")
    project.path = str(programs)
    return project


def test_without_slurm_one_sentence_says_what_to_do(project):
    done = project.snakemake(check=False)
    assert done.returncode == 1
    last = [line for line in done.stderr.splitlines() if line.strip()][-1]
    assert last.startswith("there is no SLURM on this machine (no program sbatch): run the same")
    assert "Traceback" not in done.stderr and "Errno" not in done.stderr
    assert not (project.folder / "logs/run.json").exists()
    # What submits nothing needs no SLURM.
    assert "dance" in project.snakemake("plan").stdout


def test_a_group_of_jobs_that_slurm_refuses_fails_with_its_words(project):
    for name in ("sbatch", "sacct"):
        program = Path(project.path, name)
        program.write_text(f"#!/bin/sh\necho '{REFUSED}' >&2\nexit 1\n")
        program.chmod(0o755)
    quick = project.folder / "quick.yaml"
    quick.write_text(quick.read_text() + "cluster: {partition: main}\n")
    done = project.snakemake("previews", check=False)
    assert done.returncode == 1
    _, summary = done.stderr.split("1 of 1 clips failed")
    assert f"dance: SLURM sbatch failed. The error message was '{REFUSED}" in summary
