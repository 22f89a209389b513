"""A workflow killed while it samples goes on after the last whole segment, with the same bits."""

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from test_two_models import DRIVEN

TIMEOUT = 120


def kill_tree(process: subprocess.Popen) -> None:
    """Kill Snakemake and everything it started, torchrun's workers too, as a dying node does."""
    family = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
    for pid in family:
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()
    process.wait(TIMEOUT)


@pytest.mark.slow
@pytest.mark.parametrize("cells", [{}, DRIVEN], ids=["posed", "driven"])
def test_killed_while_sampling(project, rows, tmp_path, cells):
    # Two segments.
    rows[0] |= {"segment_frames": "25", "steps": "4"} | cells
    project.write_table(*rows)
    whole = project.copy_to(tmp_path / "whole")
    result = "results/dance/dance.mp4"
    whole.snakemake(result)

    process = project.start(result)
    journal = project.folder / "results/dance/.journal"
    deadline = time.monotonic() + TIMEOUT
    while not started(journal) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_tree(process)

    assert started(journal)
    assert not (project.folder / "results/dance/sampled.mp4").exists()
    project.snakemake("--unlock")
    project.snakemake(result)
    log = (project.folder / "logs/sample/dance.log").read_text()
    _, resumed, after = log.partition("2 segments of 4 steps, 1 of them already sampled")
    assert resumed and "segment 2/2 step 4/4" in after and "segment 1/2" not in after
    assert (project.folder / result).read_bytes() == (whole.folder / result).read_bytes()
    assert not journal.exists()


def started(journal: Path) -> bool:
    """Whether a segment is finished."""
    return any(journal.rglob("segment_*.safetensors"))
