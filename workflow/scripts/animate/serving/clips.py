"""What the ranks of a server do: sample a first clip, then those that their keeper names."""

import socket
from pathlib import Path

from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.errors import ClipError, MachineError, MemoryShort
from animate.failure_note import Told, log_of_sampler, tell
from animate.sampling.models import KeptModels
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.serving.agreement import Agreement
from animate.serving.messages import Message, receive, send


def serve(first: Path, machine: Machine, models: KeptModels, keeper: socket.socket) -> None:
    """Sample the clip of a settings file, and each that the keeper names, until it names none.

    Raises:
        Told: a clip went wrong in a way after which these ranks do not go on.
    """
    world, agreement = machine.world, Agreement(machine.world)
    order: Message | None = {"settings": str(first)}
    warm = False
    while order is not None:
        try:
            status = _sample(order, machine, models, agreement, warm)
        except _Elsewhere as error:
            if world.leads:
                send(keeper, {"failed": str(error)})
            raise
        # What every rank has printed comes before the end of the clip.
        world.gather(None)
        if world.leads:
            send(keeper, {"status": status})
        order = world.share(receive(keeper)[0] if world.leads else None)
        warm = True


class _Elsewhere(Told):
    """Ranks that have sampled nothing yet may have the memory that these ones lack."""


def _sample(
    order: Message, machine: Machine, models: KeptModels, agreement: Agreement, warm: bool
) -> int:
    """Sample a clip and return its exit status; `warm` are ranks that it is not the first for."""
    settings, began = Path(order["settings"]), order.get("began")
    quiet = not machine.world.leads
    progress = Progress(settings.stem, quiet=quiet)
    try:
        job = read_job(settings)
        progress = Progress(job.clip, job.progress, quiet=quiet, began=began)
        run_job(job, machine, progress, models)
    except ClipError as error:
        if warm and isinstance(error, MemoryShort) and agreement.on(str(error)):
            raise _Elsewhere(str(error)) from error
        tell(error, log_of_sampler(settings), progress.say)
        # Of several ranks, some may wait for the one that met it.
        if isinstance(error, MachineError) or not agreement.on(str(error)):
            raise Told(str(error)) from error
        return 1
    return 0
