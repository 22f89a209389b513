"""Sample one clip: torchrun --standalone --nproc_per_node=1 sample.py SETTINGS.json

With --serve, the process at its standard input then names further clips: see `animate.serving`.
"""

import argparse
import os
import signal
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

from animate.config.job import read_job
from animate.devices.parent import UNEXPECTED, die_with_parent
from animate.errors import ClipError
from animate.failure_note import Told, log_of_sampler, tell
from animate.model.unused_libraries import import_sampler_models, spare_imports
from animate.sampling.progress import Progress
from animate.serving.messages import take_standard_input


def main(arguments: argparse.Namespace) -> None:
    """Run the job that the settings file describes; a mistake is one line and exit code 1."""
    die_with_parent()
    # A warning before the first step stops nothing: the sampler listens while it samples.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    keeper = take_standard_input() if arguments.serve else None
    rank = int(os.environ.get("RANK", 0))
    progress = Progress(arguments.settings.stem, quiet=rank > 0)
    try:
        job = read_job(arguments.settings)
        progress = Progress(job.clip, job.progress, quiet=rank > 0)
        with ExitStack() as beside:
            # Imported here so that a mistake in the settings does not wait for torch.
            from animate.devices.machine import choose_device, machine_of
            from animate.devices.world import ALONE, join_world
            from animate.sampling.weights import early_weights
            from animate.weights.leftovers import remove_partial_copies

            device = choose_device(arguments.device, arguments.staged or job.model)
            if rank == 0:
                remove_partial_copies(job.model)
            alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
            own = machine_of(ALONE, device).device
            weights = early_weights(job, arguments.staged, own)
            early = beside.enter_context(weights) if alone else None
            # What follows takes longest, and weights are read meanwhile.
            spare_imports("accelerate", "transformers")
            import_sampler_models()
            from animate.kernels.compile import can_compile
            from animate.kernels.imports import Imports
            from animate.sampling.models import KeptModels
            from animate.sampling.run import run_job
            from animate.serving.clips import serve

            options = {"compiling": arguments.compile, "staged": arguments.staged}
            with join_world(device) as world:
                machine = machine_of(world, device, **options)
                imports = Imports(device, can_compile(arguments.compile, device))
                models = KeptModels(machine, early, beside.enter_context(imports))
                if keeper:
                    serve(arguments.settings, machine, models, keeper)
                else:
                    run_job(job, machine, progress, models)
                # This process ends with the world.
                beside.close()
    except ClipError as error:
        if not isinstance(error, Told):
            tell(error, log_of_sampler(arguments.settings), progress.say)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(UNEXPECTED)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--staged", type=Path, help="copy of the model folder on a faster disk")
    parser.add_argument("--serve", action="store_true", help="sample what standard input names")
    parser.add_argument("settings", type=Path)
    main(parser.parse_args())
