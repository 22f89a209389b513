"""How SIGTERM and SIGUSR1 end a clip: after the present step, its finished segments kept."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from animate.devices.world import World
from animate.errors import MachineError

SIGNALS = signal.SIGTERM, signal.SIGUSR1

OnStep = Callable[[int, int], None]


class Stopped(MachineError):
    """The machine's manager asked the sampler to end; a later run goes on."""


@contextmanager
def stopping(world: World, on_step: OnStep) -> Iterator[OnStep]:
    """Yield `on_step` with a check: after SIGTERM or SIGUSR1 to rank 0 it raises `Stopped`.

    Rank 0 decides for all ranks, so that none waits in a collective for one that has left.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: received.append(number))

    def checked(segment: int, step: int) -> None:
        on_step(segment, step)
        reason = world.share(received[0] if received else None)
        if reason is not None:
            raise Stopped(
                f"stopped by {signal.Signals(reason).name} after step {step} of segment"
                f" {segment + 1}; the {segment} segments before it are kept: run again to go on"
            )

    try:
        yield checked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
