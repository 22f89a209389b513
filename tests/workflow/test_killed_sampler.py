"""A sampler killed under Snakemake goes on from its journal when Snakemake runs again."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from animate.video import read_video

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]

RESULT = "results/dance/dance.mp4"
AGAIN = (RESULT, "--forcerun", "sample")
TIMEOUT = 300


def frames(project) -> np.ndarray:
    return np.stack(list(read_video(project.folder / RESULT)))


def sampler_process(folder) -> psutil.Process | None:
    """Return the sampler that this test process started in `folder`, not its launcher."""
    for process in psutil.Process().children(recursive=True):
        try:
            command = process.cmdline()
            ours = process.cwd() == str(folder) and "torchrun" not in " ".join(command)
            if ours and any(part.endswith("/sample.py") for part in command[1:4]):
                return process
        except psutil.Error:
            continue
    return None


def test_killed_sampler_goes_on_under_snakemake(project, finished):
    whole = frames(finished)
    journal = project.folder / "results/dance/.journal"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(project.snakemake, *AGAIN, check=False)
        deadline = time.monotonic() + TIMEOUT
        while not list(journal.glob("*.safetensors")) and time.monotonic() < deadline:
            assert not run.done(), run.result().stderr
            time.sleep(0.05)
        sampler_process(project.folder).kill()
        assert run.result().returncode
    assert len(list(journal.glob("*.safetensors"))) >= 1
    project.snakemake(*AGAIN)
    log = (project.folder / "logs/sample/dance.log").read_text()
    assert "already sampled" in log
    assert np.array_equal(frames(project), whole)
    assert not journal.exists()
