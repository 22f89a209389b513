"""Sample one clip: torchrun --standalone --nproc_per_node=1 sample.py SETTINGS.json"""

import os
import sys
from pathlib import Path

from animate.errors import ClipError
from animate.sampling.progress import Progress
from animate.sampling.settings import read_job


def main(path: Path) -> None:
    """Run the job that the settings file describes; a mistake is one line and exit code 1."""
    progress = Progress(path.stem)
    try:
        job = read_job(path)
        progress = Progress(job.clip, job.progress)
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise ClipError("this version samples a clip on one GPU: set gpus to 1")
        # Imported here so that a wrong settings file does not wait for torch.
        from animate.sampling.run import run_job, this_machine

        run_job(job, this_machine(), progress)
    except ClipError as error:
        progress.say("error: " + " ".join(str(error).split()))
        sys.exit(1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
