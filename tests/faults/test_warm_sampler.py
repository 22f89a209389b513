"""Ranks that stay alive between clips: the same videos from one load, whatever is killed when."""

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

from animate.serving.servers import PREFIX, Run, Servers, waiting
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
        self.servers = Servers(leases, Run.of(self.process.pid), "")

    def start(self, path: Path, gpus: int = 1, warm: float = 60) -> subprocess.Popen:
        """Start a clip as the rule does."""
        options = ["--device=cpu", f"--gpus={gpus}", f"--warm-seconds={warm}"]
        options += [f"--run={self.process.pid}", path]
        return subprocess.Popen(
            [sys.executable, SCRIPTS / "launch_sampler.py", *options],
            env=os.environ | {"OMP_NUM_THREADS": "1", "WAN_ANIMATE_LEASES": str(self.leases)},
            stdout=subprocess.PIPE,
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
    """Return the frames that a job of its own makes of a clip."""
    job = json.loads(path.read_text())
    folder.mkdir()
    own = {"output": "sampled.mp4", "record": "record.json", "journal": ".journal"}
    job |= {name: str(folder / file) for name, file in own.items()}
    job["progress"] = str(folder / "progress.log")
    (folder / "settings.json").write_text(json.dumps(job))
    command = [sys.executable, SCRIPTS / "launch_sampler.py", "--device=cpu", "--gpus=1"]
    subprocess.run(
        [*command, folder / "settings.json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return result_frames(folder / "settings.json")


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
        (path.parent / "stderr.txt").read_text() == ""
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
    # As a job does that waits for GPUs.
    assert len(waiting(run.servers.machine)) == 2
    run.servers.end_waiting()
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


def test_ranks_killed_between_clips_are_replaced(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abc"]
    run.sample(paths[0])
    (keeper,) = run.family("keep_sampler.py")
    family = run.family()
    keeper.kill()
    psutil.wait_procs(family, timeout=10)
    run.sample(paths[1])
    (rank,) = run.family("sample.py --serve")
    rank.kill()
    run.sample(paths[2])
    assert loads(*paths) == 3


@pytest.mark.parametrize("victim", ["keep_sampler.py", "run_ranks.py", "sample.py"])
def test_ranks_killed_within_a_clip(model, run, tmp_path, victim):
    first = write_clip(tmp_path / "first", model, 5, segment_frames=5)
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    run.sample(first)
    process = run.start(path)
    lines_until(process, "segment 2/2 step 3/")
    family = run.family(victim)
    [p for p in family if "launch" not in " ".join(p.cmdline())][-1].kill()
    said, _ = process.communicate(timeout=TIMEOUT)
    # It goes on with new ranks, since the first ones had sampled another clip.
    assert process.returncode == 0 and "it is begun again with new ranks" in said
    assert "1 of them already sampled" in said
    assert np.array_equal(result_frames(path), alone(path, tmp_path / "alone"))


def test_ranks_killed_in_their_first_clip_are_its_failure(model, run, tmp_path):
    path = write_clip(tmp_path / "clip", model, 25, **LONG)
    process = run.start(path)
    lines_until(process, "segment 2/2 step 3/")
    run.family("sample.py")[-1].kill()
    said, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1 and "rank 0 was killed by SIGKILL" in said
    note = json.loads((tmp_path / "clip" / "progress.failure.json").read_text())
    assert not note["final"] and "rank 0 was killed by SIGKILL" in note["sentence"]
    assert "1 of them already sampled" in run.sample(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
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


def test_two_runs_never_share_ranks(model, run, tmp_path):
    other = Workflow(run.leases)
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abcd"]
    started = [run.start(paths[0]), other.start(paths[1])]
    for process in started:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    assert loads(*paths[:2]) == 2
    names = waiting(run.servers.machine)
    assert len({name.split("/")[2] for name in names}) == len(names) == 2
    other.process.kill()
    other.process.wait()
    until(lambda: len(waiting(run.servers.machine)) == 1)
    run.sample(paths[2])
    assert loads(paths[2]) == 0


def test_jobs_of_one_run_side_by_side_have_ranks_of_their_own(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 5, segment_frames=5) for name in "abcd"]
    for pair in (paths[:2], paths[2:]):
        started = [run.start(path) for path in pair]
        for process in started:
            process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0
    assert [loads(path) for path in paths] == [1, 1, 0, 0]


@pytest.mark.parametrize("how", ["seconds", "SIGTERM", "the run"])
def test_waiting_ranks_end(model, run, tmp_path, how):
    path = write_clip(tmp_path / "clip", model, 5, segment_frames=5)
    run.sample(path, warm=2 if how == "seconds" else 60)
    (keeper,) = run.family("keep_sampler.py")
    assert waiting(run.servers.machine)
    if how == "SIGTERM":
        keeper.terminate()
    if how == "the run":
        run.process.kill()
        run.process.wait()
    until(lambda: not run.family())
    assert not waiting(run.servers.machine)


def test_two_ranks_stay_together(model, run, tmp_path):
    paths = [write_clip(tmp_path / name, model, 13, segment_frames=13) for name in "abc"]
    for path in paths[:2]:
        run.sample(path, gpus=2)
    assert loads(*paths[:2]) == 1
    record = json.loads((tmp_path / "b" / "sampling.json").read_text())
    assert record["segments"][0]["made_by"]["ranks"] == 2
    assert np.array_equal(*map(result_frames, paths[:2]))
    run.sample(paths[2])
    assert loads(paths[2]) == 1


def test_memory_stays_flat(model, run, tmp_path):
    def resources() -> tuple[int, int, int]:
        (rank,) = [p for p in run.family("sample.py") if "run_ranks" not in " ".join(p.cmdline())]
        return rank.memory_info().rss, rank.num_fds(), rank.num_threads()

    seen = []
    for number in range(10):
        path = write_clip(tmp_path / str(number), model, 5 + number % 2 * 4, segment_frames=9)
        run.sample(path)
        seen.append(resources())
    assert seen[9][0] - seen[4][0] < 8 << 20
    assert seen[9][1:] == seen[5][1:]


def test_names_fit_into_the_kernels_table():
    servers = Servers(Path("/tmp/wan-animate-leases"), Run(4_194_304, 2**40), "0" * 16)
    assert servers.own.startswith(PREFIX) and len(f"\0{servers.own}4194304") < 108
