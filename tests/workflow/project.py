"""A working directory with the project's workflow in it, and what Snakemake says there."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from animate.demo.clips import write_demo

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config", "workflow", "profiles", "envs")
QUICK = """
model: tiny
defaults:
  preset: draft
  steps: 1
  segment_frames: 29
  resolution_area: 128x128
  fps: 25
"""
SPACED_VIDEO = "videos/driving video ü.mp4"
ROWS = (
    {"clip": "dance", "video": f"../{SPACED_VIDEO}", "reference": "../character.png"}
    | {"mode": "animate", "end": "1.5"},
    {"clip": "swap", "video": f"../{SPACED_VIDEO}", "reference": "../character.png"}
    | {"mode": "replace", "start": "0.5", "end": "2", "prompt": "it's {a} $(touch x); `dance`"},
)
# Jobs of a group stand indented below it.
JOB = re.compile(r"^( *)(?:local)?rule (\w+):\n((?:\1    .*\n)*)", re.MULTILINE)


@dataclass
class Project:
    """A folder where Snakemake runs the workflow, as after a clone."""

    folder: Path
    profile: tuple[str, ...] = ("--profile", "local")
    program: tuple[str, ...] = ("-m", "snakemake")
    path: str = "/usr/bin:/bin"

    def start(self, *options: str) -> subprocess.Popen:
        """Start snakemake with the project's quick settings."""
        command = [sys.executable, *self.program, *options, *self.profile]
        command += ["--configfile", "quick.yaml"]
        # Not activated: the jobs must find the environment by themselves.
        environment = os.environ | {"PATH": self.path}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def snakemake(self, *options: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run snakemake to its end and return what it printed."""
        process = self.start(*options)
        done = subprocess.CompletedProcess(process.args, 0, *process.communicate())
        if check and process.returncode:
            raise AssertionError(f"snakemake failed:\n{done.stdout}\n{done.stderr}")
        done.returncode = process.returncode
        return done

    def pending_jobs(self, *options: str) -> dict[str, Counter]:
        """Return Snakemake's own list of jobs that would run: {clip: rules}, "" for the others."""
        done = self.snakemake(*options, "--dry-run")
        jobs: dict[str, Counter] = {}
        for _, rule, details in JOB.findall(done.stdout + done.stderr):
            clip = re.search(r"wildcards: .*clip=([^,\n]+)", details)
            if rule not in ("all", "everything"):
                jobs.setdefault(clip[1] if clip else "", Counter())[rule] += 1
        return jobs

    def write_table(self, *rows: dict[str, str]) -> None:
        """Write config/clips.csv with one column per key of any row."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns)]
        lines += [",".join(f'"{row.get(key, "")}"' for key in columns) for row in rows]
        (self.folder / "config" / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")

    def copy_to(self, folder: Path) -> "Project":
        """Return a copy that Snakemake takes for the same state: times and records are kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return replace(self, folder=folder)


def new_project(folder: Path) -> Project:
    """Return a project like a fresh clone, with the tests' quick settings beside it."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            # The demo's weights are large, and not for the tiny model.
            ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy2(source, folder / part)
    for profile in ("local", "slurm"):
        (folder / profile).symlink_to(f"profiles/{profile}")
    (folder / "quick.yaml").write_text(QUICK, "utf-8")
    return Project(folder)


def finish(project: Project) -> subprocess.CompletedProcess:
    """Run `ROWS` in a new project and return what Snakemake printed."""
    write_demo(project.folder / "demo")
    (project.folder / "videos").mkdir()
    shutil.move(project.folder / "demo" / "driving.mp4", project.folder / SPACED_VIDEO)
    shutil.move(project.folder / "demo" / "character.png", project.folder / "character.png")
    project.write_table(*ROWS)
    return project.snakemake()
