"""A clip that goes wrong stops, with an error that says where."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

import run_ranks
from animate.config.settings import SamplingSettings
from animate.errors import ClipError
from animate.sampling.conditions.posed import PosedConditions
from animate.sampling.loop import SegmentSampler, sample_segments
from animate.sampling.segments import plan_segments
from sampler_clip import write_clip, write_model

ROOT = Path(__file__).parents[2]
# Rank 1 dies while the others wait for it.
RANKS = """
import os, sys, time, torch.distributed as dist
from pathlib import Path
from animate.devices.parent import die_with_parent
from animate.devices.world import join_world
die_with_parent()
with join_world("cpu") as world:
    if world.rank == 1:
        Path(sys.argv[1]).write_text(str(time.time()))
        os.kill(os.getpid(), 9)
    dist.barrier()
"""
# Rank 0 waits for SIGUSR1, which would kill rank 1.
WARNED = """
import os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1]).parent
if os.environ["RANK"] == "0":
    signal.signal(signal.SIGUSR1, lambda number, frame: (folder / "warned").touch())
(folder / os.environ["RANK"]).touch()
while not (folder / "warned").exists():
    time.sleep(0.1)
"""


def start_ranks(text: str, count: int, argument: Path) -> subprocess.Popen:
    script = argument.parent.parent / "ranks.py"
    script.write_text(text)
    argument.parent.mkdir()
    launcher = ROOT / "workflow/scripts/run_ranks.py"
    command = [sys.executable, launcher, "--standalone", f"--nproc_per_node={count}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, script, argument], env=environment, stdout=pipe, stderr=pipe, text=True
    )


def test_a_killed_rank_ends_the_others_and_is_named(tmp_path):
    killed = tmp_path / "owl" / "killed"
    process = start_ranks(RANKS, 3, killed)
    said, _ = process.communicate(timeout=100)
    assert process.returncode != 0
    assert time.time() - float(killed.read_text()) < 30
    assert "clip owl: error: rank 1 was killed by SIGKILL" in said


def test_a_warning_is_passed_on_to_the_ranks_that_listen(tmp_path):
    folder = tmp_path / "owl"
    process = start_ranks(WARNED, 2, folder / "settings")
    deadline = time.monotonic() + 60
    while not all((folder / rank).exists() for rank in "01"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_the_killed_rank_is_named_before_those_it_left():
    failures = {0: ProcessFailure(0, 10, 70, ""), 2: ProcessFailure(2, 12, -9, "")}
    failures[2].timestamp += 5
    assert run_ranks.culprit(failures) == 2
    ended = {0: failures[0], 1: ProcessFailure(1, 11, -15, "")}
    ended[1].timestamp -= 5
    assert run_ranks.culprit(ended) == 0
    assert run_ranks.explain(2, -9).startswith("rank 2 was killed by SIGKILL")
    assert run_ranks.explain(0, 70).startswith("rank 0 failed with exit code 70")
    assert run_ranks.explain(0, 1) is None
    assert run_ranks.explain(0, -15, told=15).startswith("rank 0 was ended by SIGTERM: run again")


EARLY = """
import os, signal, subprocess
import run_ranks

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        # Before anybody has the new process.
        signal.raise_signal(signal.SIGTERM)

subprocess.Popen = Popen
code, told = run_ranks.run_alone(["-c", "import time; time.sleep(60)"])
print(run_ranks.explain(0, code, told))
"""


def test_a_signal_before_the_rank_has_begun_is_named():
    done = subprocess.run(
        [sys.executable, "-c", EARLY],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")},
    )
    assert done.stdout.startswith("rank 0 was ended by SIGTERM: run again"), done.stderr


def test_a_broken_input_is_told_on_the_console(tmp_path):
    path = write_clip(tmp_path / "owl", write_model(tmp_path / "model"), 5)
    (path.parent / "src_pose.mp4").write_text("no video")
    launcher, sampler = (ROOT / "workflow/scripts" / n for n in ("run_ranks.py", "sample.py"))
    done = subprocess.run(
        [sys.executable, launcher, "--standalone", "--nproc-per-node=1", sampler, path],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert "clip owl: error: rank 0 failed with exit code 70: see the log" in done.stdout
    assert "Traceback" in done.stderr


class Model:
    """A transformer whose fifth velocity is not finite."""

    device = torch.device("cpu")
    calls = 0

    def time_embedding(self, timesteps):
        """Return something with steps."""
        return SimpleNamespace(step=lambda index: index)

    def __call__(self, latents, time, constants):
        """Return the velocity."""
        self.calls += 1
        return torch.full_like(latents, float("nan") if self.calls == 5 else 0.1)


class SameConditions(PosedConditions):
    """Conditions that are the same for all segments."""

    def branches(self, *segment):
        """Return one branch, which needs no constants."""
        return [None]


def test_not_a_number_names_segment_and_step():
    codec = SimpleNamespace(decode=lambda latents: [torch.zeros(1, 3, 13, 16, 16)])
    settings = SamplingSettings(segment_frames=13, steps=3)
    image = torch.zeros(1, 3, 16, 16)
    sampler = SegmentSampler(SameConditions(Model(), codec, settings, image, image, image))
    sampled = sample_segments(sampler, plan_segments(37, 13, 1), [None] * 3)
    assert next(sampled)[0].index == 0
    with pytest.raises(ClipError, match=r"segment 2 .* after step 2"):
        next(sampled)


def test_not_a_number_in_the_decoder_is_no_black_frame():
    pieces = [torch.full((1, 3, n, 16, 16), value) for n, value in ((5, float("nan")), (8, 0.0))]
    codec = SimpleNamespace(decode=lambda latents: pieces)
    settings = SamplingSettings(segment_frames=13, steps=3)
    image = torch.zeros(1, 3, 16, 16)
    sampler = SegmentSampler(SameConditions(Model(), codec, settings, image, image, image))
    with pytest.raises(ClipError, match=r"segment 1 .* after decoding"):
        next(sample_segments(sampler, plan_segments(13, 13, 1), [None]))
