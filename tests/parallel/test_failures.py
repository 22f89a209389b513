"""A clip that goes wrong stops, with an error that says where."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

import run_ranks
from animate.errors import ClipError
from animate.sampling.loop import Painter, paint_clip
from animate.sampling.segments import plan_segments
from animate.sampling.settings import SamplingSettings

ROOT = Path(__file__).parents[2]
# Rank 1 dies while the others wait for it.
RANKS = """
import os, sys, time, torch.distributed as dist
from pathlib import Path
from animate.parallel.world import join_world
with join_world() as world:
    if world.rank == 1:
        Path(sys.argv[1]).write_text(str(time.time()))
        os.kill(os.getpid(), 9)
    dist.barrier()
"""


def test_a_killed_rank_ends_the_others_and_is_named(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    killed = tmp_path / "owl" / "killed"
    killed.parent.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "workflow/scripts/run_ranks.py",
            "--standalone",
            "--nproc_per_node=3",
            script,
            killed,
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    assert time.time() - float(killed.read_text()) < 30
    assert "clip owl: error: rank 1 was killed by SIGKILL" in done.stdout


def test_the_killed_rank_is_named_before_those_it_left():
    failures = {0: ProcessFailure(0, 10, 70, ""), 2: ProcessFailure(2, 12, -9, "")}
    failures[2].timestamp += 5
    assert run_ranks.explain(failures).startswith("rank 2 was killed by SIGKILL")
    ended = {0: failures[0], 1: ProcessFailure(1, 11, -15, "")}
    ended[1].timestamp -= 5
    assert run_ranks.explain(ended).startswith("rank 0 failed with exit code 70")
    assert run_ranks.explain({0: ProcessFailure(0, 10, 1, "")}) is None


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


class ConstantPainter(Painter):
    """A painter of segments that all have the same conditions."""

    def _constants(self, frames, previous):
        return [None]


def test_not_a_number_names_segment_and_step():
    codec = SimpleNamespace(decode=lambda latents: torch.zeros(1, 3, 13, 16, 16))
    settings = SamplingSettings(segment_frames=13, steps=3)
    image = torch.zeros(1, 3, 16, 16)
    painter = ConstantPainter(Model(), codec, settings, image, image, image)
    painted = paint_clip(painter, plan_segments(37, 13, 1), lambda segment: None)
    assert next(painted)[0].index == 0
    with pytest.raises(ClipError, match=r"segment 2 .* after step 2"):
        next(painted)
