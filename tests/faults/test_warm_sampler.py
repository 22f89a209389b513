"""Ranks that stay alive between clips: the same videos from one load, whatever is killed when."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from animate.config.job import read_job
from animate.devices.idle import end_idle, end_idle_while, idle_names, wait_as, waiting
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.serving.servers import Run, server_names
from sampler_clip import result_frames, write_clip, write_model

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
TIMEOUT = 120
LONG = {"segment_frames": 13, "steps": 40}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


class Workflow:
    """A process that stands for Snakemake, and the samplers that it starts."""

    def __init__(self, leases: Path):
        self.leases = leases
        self.process = subprocess.Popen(["sleep", "600"])

    def start(
        self, path: Path, gpus: int = 1, warm: float = 60, output: int = subprocess.PIPE
    ) -> subprocess.Popen:
        """Start a clip as the rule does."""
        options = ["--device=cpu", f"--gpus={gpus}", f"--warm-seconds={warm}"]
        options += [f"--run={self.process.pid}", path]
        return subprocess.Popen(
            [sys.executable, SCRIPTS / "launch_sampler.py", *options],
            env=os.environ | {"OMP_NUM_THREADS": "1", "WAN_ANIMATE_LEASES": str(self.leases)},
            stdout=output,
            stderr=(path.parent / "stderr.txt").open("w"),
            text=True,
        )

    def sample(self, path: Path, **options) -> str:
        """Sample a clip, which must end well; return what was said."""
        process = self.start(path, **options)
        said, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, said + (path.parent / "stderr.txt").read_text()
        return said

    def family(self, script: str = "") -> list[psutil.Process]:
        """Return the processes of this run's servers, or those that run a script."""
        found = []
        for process in psutil.process_iter():
            try:
                command, environment = process.cmdline(), process.environ()
            except psutil.Error:
                continue
            mine = environment.get("WAN_ANIMATE_LEASES") == str(self.leases)
            found += [process] if mine and any(script in part for part in command) else []
        return found

    def end(self) -> None:
        """Kill the run, after which nothing may be left."""
        self.process.kill()
        self.process.wait()
        left = self.family()
        _, alive = psutil.wait_procs(left, timeout=20)
        assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def run(tmp_path):
    workflow = Workflow(tmp_path / "leases")
    yield workflow
    workflow.end()


def loads(*paths: Path) -> int:
    """Return how often a model was loaded for clips."""
    logs = [(path.parent / "progress.log").read_text() for path in paths]
    return sum(log.count("loading the model from") for log in logs)


def alone(path: Path, folder: Path) -> np.ndarray:
    """Return the frames that a process makes of a clip for which it has loaded the model."""
    job = json.loads(path.read_text())
    folder.mkdir()
    own = {"output": "sampled.mp4", "record": "record.json", "journal": ".journal"}
    job |= {name: str(folder / file) for name, file in own.items()}
    (folder / "settings.json").write_text(json.dumps(job))
    run_job(read_job(folder / "settings.json"), machine_of(ALONE, "cpu"), Progress("alone"))
    return result_frames(folder / "settings.json")


def program_of(run: Workflow, script: str) -> psutil.Process:
    """Return the process of a run whose own script has this name."""
    found = []
    for process in run.family(script):
        words = [word for word in process.cmdline()[1:] if not word.startswith("-")]
        found += [process] if words[0].endswith(f"/{script}") else []
    (process,) = found
    return process


def rank_of(run: Workflow) -> psutil.Process:
    return program_of(run, "sample.py")


def lines_until(process: subprocess.Popen, text: str) -> None:
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the sampler ended without {text!r}")


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_clips_in_a_row_are_loaded_once_and_are_those_of_jobs_of_their_own(model, run, tmp_path):
    paths = [
        write_clip(tmp_path / "first", model, 9, segment_frames=9, steps=2),
        write_clip(tmp_path / "longer", model, 21, size=(48, 32), segment_frames=13, seed=3),
        write_clip(tmp_path / "guided", model, 9, segment_frames=9, guidance_scale=2.0),
    ]
    for path in paths:
        said = run.sample(path)
        assert f"clip {path.parent.name}: finished: " in said
    assert loads(*paths) == 1
    assert len(run.family("keep_sampler.py")) == 1
    for path in paths:
        assert np.array_equal(result_frames(path), alone(path, path.parent / "alone"))
    first, *later = (json.loads((p.parent / "sampling.json").read_text()) for p in paths)
    assert all(record["seconds"].keys() == first["seconds"].keys() for record in later)
    assert all(record["seconds"]["start"] < 1 for record in later)
    assert all(record["segments"][0]["made_by"]["ranks"] == 1 for record in later)


def test_a_clip_with_other_weights_gets_ranks_of_its_own(model, run, tmp_path):
    animate = write_clip(tmp_path / "animate", model, 5, segment_frames=5)
    # With the relighting LoRA.
    replace = write_clip(tmp_path / "replace", model, 5, "replace", segment_frames=5)
    again = write_clip(tmp_path / "again", model, 5, segment_frames=5)
    for path in (animate, replace, again):
        run.sample(path)
    assert [loads(path) for path in (animate, replace, again)] == [1, 1, 0]
    until(lambda: len(waiting(idle_names(run.leases))) == 2)
    # They hold no GPU.
    end_idle(run.leases, {"_0.lock"}, 1)
    assert len(waiting(idle_names(run.leases))) == 2
    # As a job does that lacks memory.
    shortages = [True, False]
    end_idle_while(run.leases, lambda: shortages.pop(0))
    until(lambda: len(run.family("keep_sampler.py")) == 1)
    assert len(waiting(idle_names(run.leases))) == 1
    end_idle_while(run.leases, lambda: True)
    assert not waiting(idle_names(run.leases))
    until(lambda: not run.family())


def test_a_mistake_in_one_clip_is_that_clips_alone(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abc"]
    run.sample(paths[0])
    job = json.loads(paths[1].read_text())
    (tmp_path / "b" / "src_face.mp4").unlink()
    process = run.start(paths[1])
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and f"error: face input {job['inputs']['face']}" in said
    note = json.loads((tmp_path / "b" / "progress.failure.json").read_text())
    assert note["final"] and note["sentence"].startswith("face input")
    run.sample(paths[2])
    assert loads(paths[0], paths[2]) == 1


def test_ranks_that_end_between_clips_are_replaced(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abcd"]
    run.sample(paths[0])
    (keeper,) = run.family("keep_sampler.py")
    family = run.family()
    keeper.kill()
    psutil.wait_procs(family, timeout=10)
    run.sample(paths[1])
    rank_of(run).kill()
    run.sample(paths[2])
    until(lambda: len(run.family("keep_sampler.py")) == 1)
    run.family("keep_sampler.py")[0].terminate()
    until(lambda: not run.family())
    run.sample(paths[3])
    assert loads(*paths) == 4


def test_a_keeper_whose_name_is_taken_answers_its_job(model, run, tmp_path):
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    process = run.start(path)
    lines_until(process, "segment 1/2 step 1/")
    (keeper,) = run.family("keep_sampler.py")
    (name,) = [word for word in keeper.cmdline() if word.startswith("--name=")]
    with wait_as(f"{name.removeprefix('--name=')}{keeper.pid}"):
        said, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, said
        until(lambda: not run.family())


@pytest.mark.parametrize(
    "victim",
    [
        "keep_sampler.py",
        pytest.param("run_ranks.py", marks=pytest.mark.slow),
        pytest.param("sample.py", marks=pytest.mark.slow),
    ],
)
def test_ranks_killed_within_a_clip(model, run, tmp_path, victim):
    first = write_clip(tmp_path / "first", model, 5, segment_frames=5)
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    run.sample(first)
    process = run.start(path)
    lines_until(process, "segment 2/2 step 3/")
    program_of(run, victim).kill()
    said, _ = process.communicate(timeout=TIMEOUT)
    # It goes on with new ranks, since the first ones had sampled another clip.
    assert process.returncode == 0 and "it is begun again with other ranks" in said
    assert "1 of them already sampled" in said
    assert np.array_equal(result_frames(path), alone(path, tmp_path / "alone"))


def test_ranks_killed_in_their_first_clip_are_its_failure(model, run, tmp_path):
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    process = run.start(path)
    lines_until(process, "segment 2/2 step 3/")
    rank_of(run).kill()
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and "rank 0 was killed by SIGKILL" in said
    note = json.loads((tmp_path / "clip" / "progress.failure.json").read_text())
    assert not note["final"] and "rank 0 was killed by SIGKILL" in note["sentence"]
    assert "1 of them already sampled" in run.sample(path)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)]
)
def test_a_signal_to_a_job_stops_its_clip_after_the_step(model, run, tmp_path, number):
    first = write_clip(tmp_path / "first", model, 5, segment_frames=5)
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    run.sample(first)
    process = run.start(path)
    lines_until(process, "segment 2/2 step 3/")
    process.send_signal(number)
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and f"stopped by {number.name} after step" in said
    until(lambda: not run.family())
    assert "1 of them already sampled" in run.sample(path)


def test_a_killed_job_stops_its_clip(model, run, tmp_path):
    path = write_clip(tmp_path / "clip", model, 13, segment_frames=13, steps=200)
    process = run.start(path)
    lines_until(process, "segment 1/1 step 3/")
    process.kill()
    process.communicate(timeout=TIMEOUT)
    until(lambda: not run.family())
    assert "stopped by SIGTERM" in (tmp_path / "clip" / "progress.log").read_text()


def test_a_run_killed_while_nobody_reads_its_output(model, run, tmp_path):
    path = write_clip(tmp_path / "clip", model, 45, segment_frames=5, steps=200)
    reader, writer = os.pipe()
    # Less than the clip prints.
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = run.start(path, output=writer)
    os.close(writer)
    log = tmp_path / "clip" / "progress.log"
    until(lambda: log.exists() and "step 100/" in log.read_text())
    run.process.kill()
    run.process.wait()
    until(lambda: not run.family())
    process.wait(TIMEOUT)
    os.close(reader)


def test_two_runs_never_share_ranks(model, run, tmp_path):
    other = Workflow(run.leases)
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abcd"]
    started = [run.start(paths[0]), other.start(paths[1])]
    for process in started:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    assert loads(*paths[:2]) == 2
    until(lambda: len(waiting(idle_names(run.leases))) == 2)
    names = waiting(idle_names(run.leases))
    assert len({name.split("/")[2] for name in names}) == len(names) == 2
    other.process.kill()
    other.process.wait()
    until(lambda: len(waiting(idle_names(run.leases))) == 1)
    # Side by side, one job takes the ranks that wait and the other its own.
    started = [run.start(path) for path in paths[2:]]
    for process in started:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    assert loads(*paths[2:]) == 1
    until(lambda: len(waiting(idle_names(run.leases))) == 2)


def test_two_ranks_stay_together(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 13, segment_frames=13) for name in "abc"]
    for path in paths[:2]:
        run.sample(path, gpus=2)
    assert loads(*paths[:2]) == 1
    record = json.loads((tmp_path / "b" / "sampling.json").read_text())
    assert record["segments"][0]["made_by"]["ranks"] == 2
    assert np.array_equal(*map(result_frames, paths[:2]))
    # A mistake that both meet does not part them.
    wrong = write_clip(tmp_path / "wrong", model, 5)
    (tmp_path / "wrong" / "src_face.mp4").unlink()
    process = run.start(wrong, gpus=2)
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and "error: face input" in said
    again = write_clip(tmp_path / "again", model, 5, segment_frames=5)
    run.sample(again, gpus=2)
    assert loads(again) == 0
    run.sample(paths[2], warm=1)
    assert loads(paths[2]) == 1
    until(lambda: len(waiting(idle_names(run.leases))) == 1)


def test_memory_stays_flat(model, run, tmp_path):
    def resources() -> tuple[int, int, int]:
        rank = rank_of(run)
        return rank.memory_info().rss, rank.num_fds(), rank.num_threads()

    seen = []
    for number in range(10):
        path = write_clip(tmp_path / str(number), model, 5 + number % 2 * 4, segment_frames=9)
        run.sample(path)
        seen.append(resources())
    assert seen[9][0] - seen[4][0] < 8 << 20
    assert seen[9][1:] == seen[5][1:]


def test_names_fit_into_the_kernels_table():
    names = server_names(Path("/tmp/wan-animate-leases"), Run(4_194_304, 2**40), "0" * 16)
    assert len(f"\0{names}4194304") < 108
