"""A sampler killed at any moment goes on where it was and returns the same bits."""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sampler_child
from animate.demo.tiny2 import write_tiny_2
from sampler_clip import (
    change_settings,
    result_frames,
    write_clip,
    write_driven_clip,
    write_model,
)

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["sampler_child"])
TIMEOUT = 120


@pytest.fixture(scope="module", autouse=True)
def import_path():
    """Let the fork server find what it is to preload."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def driven_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driven")
    write_tiny_2(folder)
    return folder


def start(path: Path):
    """Start the sampler as a process that reports the stages it enters."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=sampler_child.main, args=(path, sender))
    process.start()
    sender.close()
    return process, receiver


def run_to_end(path: Path) -> dict[str, float]:
    """Run without interruption; return how long each stage took, at its longest."""
    process, receiver = start(path)
    durations: dict[str, float] = {}
    before = None
    while True:
        try:
            stage, moment = receiver.recv()
        except EOFError:
            break
        if before is not None:
            durations[before[0]] = max(durations.get(before[0], 0), moment - before[1])
        before = stage, moment
    process.join(TIMEOUT)
    assert process.exitcode == 0
    return durations


def kill_in(path: Path, stage: str, durations: dict[str, float], rng: random.Random) -> bool:
    """Kill a run at a random moment of a random occurrence of a stage; False if it ended first."""
    process, receiver = start(path)
    occurrences = 1 if stage == "load" else rng.randint(1, 2)
    try:
        while occurrences:
            occurrences -= receiver.recv()[0] == stage
    except EOFError:
        process.join(TIMEOUT)
        return False
    time.sleep(rng.random() * durations.get(stage, 0))
    process.kill()
    process.join(TIMEOUT)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["animate", "replace", "driven"])
@pytest.mark.parametrize(
    "rounds", [pytest.param(1, id="once"), pytest.param(10, id="ten times", marks=pytest.mark.slow)]
)
def test_killed_in_every_stage(model, driven_model, tmp_path, kind, rounds):
    rng = random.Random(rounds)
    settings = {"segment_frames": 13, "steps": 3, "conditioning_frames": 5}
    settings |= {"color_match": "overlap", "overlap_blend": 3}

    def written(name: str) -> Path:
        if kind == "driven":
            return write_driven_clip(tmp_path / name, driven_model, 36, **settings)
        return write_clip(tmp_path / name, model, 36, kind, **settings)

    whole = written("whole")
    durations = run_to_end(whole)
    for number in range(rounds):
        path = written(str(number))
        for stage in sampler_child.STAGES:
            # A run near its end may finish before its kill; the next one starts afresh.
            while not kill_in(path, stage, durations, rng):
                pass
        run_to_end(path)
        assert np.array_equal(result_frames(path), result_frames(whole))
        left = {file.name for file in path.parent.iterdir()}
        assert left == {file.name for file in whole.parent.iterdir()}


def test_killed_run_with_a_changed_setting_starts_afresh(model, tmp_path):
    settings = {"segment_frames": 13, "steps": 1}
    path = write_clip(tmp_path / "clip", model, 30, **settings)
    other = write_clip(tmp_path / "other", model, 30, **settings, seed=3)
    run_to_end(other)
    assert kill_in(path, "decode", {}, random.Random(0))
    change_settings(path, seed=3)
    run_to_end(path)
    assert np.array_equal(result_frames(path), result_frames(other))
