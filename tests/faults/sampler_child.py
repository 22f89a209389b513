"""The sampler as a process that says which stage it is in, for the tests that kill it."""

import time
from pathlib import Path

import torch

from animate.sampling import loop, run
from animate.sampling.journal import Journal
from animate.sampling.progress import Progress
from animate.sampling.settings import read_job
from animate.video import VideoWriter

STAGES = ("load", "step", "decode", "write")


def main(path: Path, reports) -> None:
    """Run a settings file; send (stage, time) at the start of every stage."""
    torch.set_num_threads(1)

    def reporting(stage, function):
        def call(*args, **kwargs):
            reports.send((stage, time.monotonic()))
            return function(*args, **kwargs)

        return call

    run.load_painter = reporting("load", run.load_painter)
    loop.Painter._denoise = reporting("step", loop.Painter._denoise)
    run.SplitCodec.decode = reporting("decode", run.SplitCodec.decode)
    Journal.store = reporting("write", Journal.store)
    VideoWriter.__exit__ = reporting("write", VideoWriter.__exit__)
    run.run_job(read_job(path), run.this_machine(), Progress("killed"))
