"""The workflow as a module of another one, from a folder or a git host, with its own folders."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from animate.demo.clips import write_demo
from project import ROOT, new_project

SNAKEFILE = """
configfile: "config/config.yaml"

module wan_animate:
    snakefile: {source}
    config: config

use rule * from wan_animate as wan_*

rule poster:
    default_target: True
    input: rules.wan_all.input
    output: "out/poster.txt"
    shell: "echo finished > {{output}}"
"""
CONFIG = """
clips: config/clips.csv
results: out/results
models: out/models
logs: out/logs
model: tiny
defaults: {steps: 1, segment_frames: 9, resolution_area: 64x64, fps: 25, preset: draft}
presets: {draft: {}}
"""
HOST = "https://github.com/someone/wan-animate"


def git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def other_workflow(tmp_path):
    """Return a function that writes a workflow using this one from `source`."""

    def write(source: str) -> Path:
        folder = tmp_path / "other workflow"
        (folder / "config").mkdir(parents=True)
        (folder / "Snakefile").write_text(SNAKEFILE.format(source=source))
        (folder / "config/config.yaml").write_text(CONFIG)
        write_demo(folder / "demo")
        (folder / "config/clips.csv").write_text(
            "clip,video,reference,mode,end\nm,../demo/driving.mp4,../demo/character.png,replace,0.3\n"
        )
        return folder

    return write


def snakemake(folder: Path, *options: str, **environment: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


SNAKEFILES = ["workflow/Snakefile", pytest.param("Snakefile", marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize("snakefile", SNAKEFILES)
def test_module_runs_and_writes_only_into_its_folders(other_workflow, snakefile):
    folder = other_workflow(repr(str(ROOT / snakefile)))
    before = {path.name for path in folder.iterdir()}
    snakemake(folder)
    assert (folder / "out/results/m/m.mp4").is_file()
    assert (folder / "out/poster.txt").read_text() == "finished\n"
    assert {path.name for path in folder.iterdir()} == before | {"out", ".snakemake"}
    assert {path.name for path in (folder / "config").iterdir()} == {"config.yaml", "clips.csv"}


def test_module_with_the_cluster_profile_in_the_other_folder(other_workflow):
    folder = other_workflow(repr(str(ROOT / "workflow/Snakefile")))
    shutil.copytree(ROOT / "profiles/slurm", folder / "profiles/slurm")
    said = snakemake(folder, "--dry-run", "--profile", "profiles/slurm")
    assert "wan_sample" in said and "out/results/m/sampled.mp4" in said


def test_module_from_a_git_host(other_workflow, tmp_path):
    clone = new_project(tmp_path / "clone").folder
    git(clone, "init", "--quiet")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "All")
    git(clone, "tag", "v1")
    folder = other_workflow('github("someone/wan-animate", path="workflow/Snakefile", tag="v1")')
    environment = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone}.insteadOf",
        "GIT_CONFIG_VALUE_0": HOST,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    target = "out/results/m/timeline.json"
    snakemake(folder, target, **environment)
    assert (folder / target).is_file()
    (unpacked,) = folder.glob(".snakemake/wan-animate/*/workflow/scripts/timeline.py")
    assert unpacked.read_bytes() == (ROOT / "workflow/scripts/timeline.py").read_bytes()
