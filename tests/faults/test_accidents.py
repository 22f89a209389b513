"""Torchrun or a rank killed with SIGKILL, and two samplers of one clip, as real processes."""

import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from sampler_clip import result_frames, write_clip, write_model

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
SAMPLER = SCRIPTS / "sample.py"
TORCHRUN = [sys.executable, SCRIPTS / "run_ranks.py", "--standalone"]
SETTINGS = {"segment_frames": 13, "steps": 40, "size": (32, 32)}
FRAMES, SEGMENTS = 49, 4
TIMEOUT = 120
ROUNDS = [pytest.param(1, id="once"), pytest.param(10, id="ten times", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """Return a function: the frames of the clip when nothing happens, on so many ranks."""

    @functools.cache
    def frames(ranks):
        path = write_clip(tmp_path_factory.mktemp("whole"), model, FRAMES, **SETTINGS)
        finish(start(path, ranks))
        return result_frames(path)

    return frames


def start(path: Path, ranks: int) -> subprocess.Popen:
    """Start torchrun as the rule does."""
    return subprocess.Popen(
        [*TORCHRUN, f"--nproc-per-node={ranks}", SAMPLER, "--device=cpu", path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen) -> list[str]:
    """Wait for a run that must end well; return its lines."""
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, said
    return said.splitlines()


def ranks_of(process: subprocess.Popen) -> list[psutil.Process]:
    ranks = []
    for child in psutil.Process(process.pid).children(recursive=True):
        # One that has ended has no command line any more.
        with suppress(psutil.Error):
            ranks += [child] if any("sample.py" in part for part in child.cmdline()) else []
    return ranks


def lines_until(process: subprocess.Popen, text: str) -> Iterator[str]:
    for line in process.stdout:
        yield line
        if text in line:
            return
    raise AssertionError(f"the sampler ended without {text!r}")


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """Fail when one is alive, zombies apart, some seconds later."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    alive = [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
    assert not alive


def stored(path: Path) -> int:
    return len(list((path.parent / ".journal").rglob("segment_*.safetensors")))


@pytest.mark.parametrize(
    ("victim", "ranks", "rounds"),
    [
        ("torchrun", 1, 1),
        *(
            pytest.param(victim, ranks, 10, marks=pytest.mark.slow)
            for victim in ("torchrun", "rank")
            for ranks in (1, 2)
        ),
    ],
)
def test_killed_while_sampling(model, whole, tmp_path, victim, ranks, rounds):
    rng = random.Random(rounds)
    for number in range(rounds):
        path = write_clip(tmp_path / str(number), model, FRAMES, **SETTINGS)
        process = start(path, ranks)
        segment = rng.randint(2, SEGMENTS)
        list(lines_until(process, f"segment {segment}/{SEGMENTS} step {rng.randint(1, 30)}/"))
        running = ranks_of(process)
        assert len(running) == ranks
        (process if victim == "torchrun" else rng.choice(running)).kill()
        assert process.wait(TIMEOUT) != 0
        process.stdout.close()
        wait_until_gone(running)
        kept = stored(path)
        assert kept >= segment - 1
        said = finish(start(path, ranks))
        assert any(f"{kept} of them already sampled" in line for line in said)
        assert np.array_equal(result_frames(path), whole(ranks))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [10])
def test_killed_between_the_last_segment_and_the_sound(model, whole, tmp_path, rounds):
    rng = random.Random(rounds)
    for number in range(rounds):
        path = write_clip(tmp_path / str(number), model, FRAMES, **SETTINGS)
        process = start(path, 1)
        list(lines_until(process, f"segment {SEGMENTS}/{SEGMENTS} step {SETTINGS['steps']}"))
        deadline = time.monotonic() + TIMEOUT
        while stored(path) < SEGMENTS and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        running = ranks_of(process)
        process.kill()
        process.wait(TIMEOUT)
        process.stdout.close()
        wait_until_gone(running)
        said = finish(start(path, 1))
        assert any(f"{SEGMENTS} of them already sampled" in line for line in said)
        assert np.array_equal(result_frames(path), whole(1))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_second_sampler_of_the_clip_waits(model, whole, tmp_path, rounds):
    for number in range(rounds):
        path = write_clip(tmp_path / str(number), model, FRAMES, **SETTINGS)
        first = start(path, 1)
        list(lines_until(first, f"segment 1/{SEGMENTS} step 1"))
        (rank,) = ranks_of(first)
        # It samples on once the second one is there.
        rank.suspend()
        second = start(path, 1)
        list(lines_until(second, "is sampling this clip"))
        running = [rank, *ranks_of(second)]
        if number % 2:
            first.kill()
            first.wait(TIMEOUT)
            first.stdout.close()
        else:
            rank.resume()
            finish(first)
        said = finish(second)
        if not number % 2:
            assert any(f"{SEGMENTS} of them already sampled" in line for line in said)
        wait_until_gone(running)
        assert np.array_equal(result_frames(path), whole(1))


def test_what_fails_after_the_clip_is_finished_fails_nothing(model, tmp_path):
    path = write_clip(tmp_path / "clip", model, 13, **SETTINGS)
    script = tmp_path / "teardown.py"
    script.write_text(
        "import runpy, sys, torch.distributed as dist\n"
        "def fail(*arguments): raise RuntimeError('while leaving')\n"
        "dist.destroy_process_group = fail\n"
        "sys.argv.pop(0)\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [*TORCHRUN, "--nproc_per_node=2", script, SAMPLER, "--device=cpu", path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    assert len(result_frames(path)) == 13


@pytest.mark.slow
def test_sigterm_keeps_what_is_finished(model, whole, tmp_path):
    path = write_clip(tmp_path / "clip", model, FRAMES, **SETTINGS)
    process = start(path, 2)
    list(lines_until(process, f"segment 2/{SEGMENTS} step 1/"))
    running = ranks_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) != 0
    process.stdout.close()
    wait_until_gone(running)
    said = finish(start(path, 2))
    assert any("1 of them already sampled" in line for line in said)
    assert np.array_equal(result_frames(path), whole(2))
