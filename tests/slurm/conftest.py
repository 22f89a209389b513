import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import loopback
from animate.demo.clips import write_demo
from project import Project, new_project
from records import Record, jobs_of

SETTINGS = """
model: tiny
# SLURM's GPUs are device files here.
device: cpu
cluster:
  partition: main
  gpu_model: fake
  gpus_per_node: 2
  cpus_per_gpu: 1
  max_gpus: 4
  min_minutes: 5
  warning_seconds: 0
defaults:
  preset: draft
  steps: 2
  segment_frames: 13
  resolution_area: 128x128
  fps: 25
"""
SUBMIT = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3")
FILES = {"video": "../demo/driving.mp4", "reference": "../demo/character.png"}
# Clip, mode, second of its end, GPUs; four GPUs are two nodes.
CLIPS = (
    ("dance", "animate", "1.5", "1"),
    ("swap", "replace", "2.5", "1"),
    ("dance2", "animate", "1", "2"),
    ("swap2", "replace", "1", "2"),
    ("wide", "animate", "0.5", "4"),
    ("auto", "replace", "0.5", "auto"),
)
ROWS = tuple(
    {"clip": clip, **FILES, "mode": mode, "end": end, "gpus": gpus}
    for clip, mode, end, gpus in CLIPS
)
PATIENCE = 600


@dataclass
class Cluster(Project):
    """A project that is run on SLURM, from this machine as its login node."""

    profile: tuple[str, ...] = SUBMIT
    program: tuple[str, ...] = (str(Path(__file__).with_name("impatient.py")),)

    @property
    def jobs(self) -> list[Record]:
        """What SLURM recorded of the jobs of this folder, the oldest first."""
        return jobs_of(self.folder)

    def jobs_of(self, clip: str) -> list[Record]:
        """Return those jobs of a clip, the oldest first."""
        return [job for job in self.jobs if job.clip == clip]

    def samplers_of(self, clip: str) -> list[Record]:
        """Return those of a clip's jobs that sample."""
        return [job for job in self.jobs_of(clip) if job.kind == "sample"]

    def submitted(self, *options: str) -> dict[str, list[str]]:
        """Run snakemake to its end and return the kinds of the jobs it submitted, by clip."""
        before = len(self.jobs)
        self.snakemake(*options)
        kinds = {}
        for job in self.jobs[before:]:
            kinds.setdefault(job.clip, []).append(job.kind)
        return {clip: sorted(found) for clip, found in kinds.items()}

    def frames(self, clip: str) -> bytes:
        """Return the sampled video of a clip."""
        return (self.folder / f"results/{clip}/sampled.mp4").read_bytes()

    def assert_whole(self) -> None:
        """Nothing is half-written, locked or still running."""
        left = [p.name for p in (self.folder / "results").rglob("*") if ".part" in p.name]
        assert left == [] and not list(self.folder.glob(".snakemake/locks/*"))
        assert not loopback.CONTROL_GROUPS or processes_in(self.folder) == []


def set_site(project: Cluster, **site: str | int) -> None:
    """Change keys of `cluster:`."""
    quick = project.folder / "quick.yaml"
    config = yaml.safe_load(quick.read_text())
    config["cluster"] |= site
    quick.write_text(yaml.safe_dump(config))


def processes_in(folder: Path) -> list[str]:
    """Return the commands of the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until(condition, process: subprocess.Popen | None = None) -> None:
    """Wait until the condition holds; fail when the process ends before or time is up."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, "snakemake ended too early"
        time.sleep(0.1)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def cluster():
    """The loopback cluster, empty."""
    if missing := loopback.missing_programs():
        pytest.skip(f"no {', '.join(missing)} here: install Debian's slurm-wlm and munge")
    if os.geteuid():
        pytest.skip("SLURM's configuration in /etc/slurm can only be written by root")
    loopback.start()
    yield
    loopback.stop()


@pytest.fixture(scope="session")
def finished(cluster, tmp_path_factory):
    """Six clips in both modes, on one GPU, two GPUs and two nodes, run once to the end."""
    project = Cluster(new_project(tmp_path_factory.mktemp("finished") / "clips").folder)
    (project.folder / "quick.yaml").write_text(SETTINGS)
    write_demo(project.folder / "demo")
    project.write_table(*ROWS)
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path):
    """The finished project, in a copy of its own."""
    return finished.copy_to(tmp_path / "clips")


@pytest.fixture
def rows():
    """The table of the finished project, to be changed."""
    return [dict(row) for row in ROWS]
