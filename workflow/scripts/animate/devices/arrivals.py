"""Tensors on their way from a device to the host, while the device goes on computing."""

from collections.abc import Callable

import torch


class Arrivals:
    """Hands tensors on in order, each when the one after it is under way.

    So the device always has work queued while the host waits for it.
    """

    def __init__(self, hand_on: Callable[[torch.Tensor], None]):
        """`hand_on` is called with each tensor on the CPU."""
        self._hand_on = hand_on
        self._last: tuple[torch.Tensor, torch.cuda.Event | None] | None = None

    def send(self, tensor: torch.Tensor) -> None:
        """Start a tensor's way to the host, and hand on the one before it."""
        moved, arrived = tensor.to("cpu", non_blocking=True), None
        if tensor.is_cuda:
            arrived = torch.cuda.Event(blocking=True)
            arrived.record()
        self.wait()
        self._last = moved, arrived

    def wait(self) -> None:
        """Hand on the tensor that was sent last."""
        if self._last is None:
            return
        (moved, arrived), self._last = self._last, None
        if arrived:
            arrived.synchronize()
            # Pinned memory, which is dear to get, is free for the next one.
            moved = moved.clone()
        self._hand_on(moved)
