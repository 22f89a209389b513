"""What the ranks of a server do: sample a first clip, then those that their keeper names."""

import socket
from pathlib import Path

from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.errors import ClipError, MachineError
from animate.failure_note import Told, log_of_sampler, tell
from animate.sampling.models import KeptModels
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.serving.messages import Message, receive, send


def serve(first: Path, machine: Machine, models: KeptModels, keeper: socket.socket) -> None:
    """Sample the clip of a settings file, and each that the keeper names, until it names none.

    Raises:
        Told: a clip went wrong in a way after which these ranks do not go on.
    """
    world = machine.world
    order: Message | None = {"settings": str(first)}
    while order is not None:
        status = _sample(Path(order["settings"]), order.get("began"), machine, models)
        # What every rank has printed comes before the end of the clip.
        world.gather(None)
        if world.leads:
            send(keeper, {"status": status})
        order = world.share(receive(keeper)[0] if world.leads else None)


def _sample(settings: Path, began: float | None, machine: Machine, models: KeptModels) -> int:
    """Sample a clip and return its exit status."""
    quiet = not machine.world.leads
    progress = Progress(settings.stem, quiet=quiet)
    try:
        job = read_job(settings)
        progress = Progress(job.clip, job.progress, quiet=quiet, began=began)
        run_job(job, machine, progress, models)
    except ClipError as error:
        tell(error, log_of_sampler(settings), progress.say)
        # Of several ranks, some may wait for the one that met it.
        if isinstance(error, MachineError) or machine.world.size > 1:
            raise Told(str(error)) from error
        return 1
    return 0
