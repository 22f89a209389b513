"""The sampler as a process that says which stage it is in, for the tests that kill it."""

import time
from pathlib import Path

import torch

from animate.config.job import read_job
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.journal.segments import NewSegment
from animate.parallel.vae_split import SplitCodec
from animate.sampling import loop, models, run
from animate.sampling.progress import Progress
from animate.video.files import VideoWriter

STAGES = ("load", "step", "decode", "write")


def main(path: Path, reports) -> None:
    """Run a settings file; send (stage, time) at the start of every stage."""
    torch.set_num_threads(1)

    def reporting(stage, function):
        def call(*args, **kwargs):
            reports.send((stage, time.monotonic()))
            return function(*args, **kwargs)

        return call

    models.load_models = reporting("load", models.load_models)
    loop.SegmentSampler._denoise = reporting("step", loop.SegmentSampler._denoise)
    SplitCodec.decode = reporting("decode", SplitCodec.decode)
    NewSegment.finish = reporting("write", NewSegment.finish)
    VideoWriter.__exit__ = reporting("write", VideoWriter.__exit__)
    run.run_job(read_job(path), machine_of(ALONE, "cpu"), Progress("killed"))
