"""A clip that goes wrong stops, with an error that says where."""

import os
import subprocess
import sys
import time

import pytest
import torch

from animate.errors import ClipError
from animate.sampling.loop import NotFinite, paint_clip
from animate.sampling.segments import plan_segments
from animate.sampling.settings import SamplingSettings

RANKS = """
import os, time, torch, torch.distributed as dist
from animate.parallel.world import join_world
with join_world() as world:
    if world.rank == 1:
        os.kill(os.getpid(), 9)
    dist.barrier()
"""


def test_a_killed_rank_ends_the_others_and_is_named(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    started = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            str(script),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    assert time.monotonic() - started < 60
    assert "rank      : 1" in done.stderr


class Painter:
    """A painter whose third step is not finite."""

    settings = SamplingSettings(segment_frames=13)
    reference = torch.zeros(1, 3, 16, 16)

    def sample(self, *arguments):
        """Fail as the loop does."""
        raise NotFinite(3)


def test_not_a_number_names_segment_and_step():
    with pytest.raises(ClipError, match=r"segment 1 .* step 3"):
        next(paint_clip(Painter(), plan_segments(13, 13, 1), lambda segment: None))
