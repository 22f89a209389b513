"""A disk that fills up while a clip is sampled."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from sampler_clip import result_frames, write_clip, write_model
from small_disk import small_disk

CPU = Machine(torch.device("cpu"), torch.float32)


@pytest.fixture
def disk(tmp_path):
    """A file system of 512 KiB."""
    with small_disk(tmp_path / "disk") as folder:
        yield folder


def sample(path: Path) -> None:
    run_job(read_job(path), CPU, Progress("full"))


def test_finished_segments_survive_a_full_disk(disk, tmp_path):
    model = write_model(tmp_path / "model")
    clips = [
        write_clip(tmp_path / name, model, 13, size=(64, 64), segment_frames=5)
        for name in ("clip", "whole")
    ]
    sample(clips[1])
    job = json.loads(clips[0].read_text())
    clips[0].write_text(json.dumps(job | {"journal": str(disk / "journal")}))
    ballast = disk / "ballast"
    # Room for one segment (5 frames and a tail, 110 KiB) but not for two.
    ballast.write_bytes(bytes(336 << 10))
    with pytest.raises(ClipError, match=r"no space left .* its 1 finished segments are kept"):
        sample(clips[0])
    ballast.unlink()
    sample(clips[0])
    assert np.array_equal(result_frames(clips[0]), result_frames(clips[1]))


def test_a_video_that_does_not_fit(disk, tmp_path):
    model = write_model(tmp_path / "model")
    clip = write_clip(tmp_path / "clip", model, 9, size=(64, 64), segment_frames=5)
    job = json.loads(clip.read_text())
    clip.write_text(json.dumps(job | {"output": str(disk / "sampled.mp4")}))
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(508 << 10))
    with pytest.raises(ClipError, match=r"no space left .* its 2 finished segments are kept"):
        sample(clip)
    assert not (disk / "sampled.mp4").exists()
    ballast.unlink()
    sample(clip)
    assert len(result_frames(clip)) == 9
