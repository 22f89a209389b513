"""Sample one clip: torchrun --standalone --nproc_per_node=1 sample.py [MODEL] SETTINGS.json

MODEL is a copy of the settings' model folder on a faster disk.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

from animate.errors import ClipError
from animate.sampling.progress import Progress
from animate.sampling.settings import read_job


def main(path: Path, model: Path | None = None) -> None:
    """Run the job that the settings file describes; a mistake is one line and exit code 1."""
    # A warning before the first step stops nothing: the sampler listens while it samples.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    rank = int(os.environ.get("RANK", 0))
    progress = Progress(path.stem, quiet=rank > 0)
    try:
        job = read_job(path)
        if model:
            job = dataclasses.replace(job, model=model)
        progress = Progress(job.clip, job.progress, quiet=rank > 0)
        # Imported here so that a wrong settings file does not wait for torch.
        from animate.parallel.world import join_world
        from animate.sampling.run import run_job, this_machine

        with join_world() as world:
            run_job(job, this_machine(world), progress)
    except ClipError as error:
        progress.say("error: " + " ".join(str(error).split()))
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*map(Path, reversed(sys.argv[1:])))
