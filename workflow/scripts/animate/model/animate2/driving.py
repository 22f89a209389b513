"""Keys and values of a driving segment's tokens, kept for the steps of its segment.

Shapes: B batch, T latent frames of the driving segment, n tokens of each, H heads of this process,
D head size.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch

from animate.model.block import KeysValues


class DrivingKeys(Protocol):
    """Those of all blocks, from the pass over the driving segment to the last step."""

    def put(self, block: int, heads: slice, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep those (B, T, n, h, D) of some of this process's heads of a block."""

    def here(self, block: int) -> AbstractContextManager[KeysValues]:
        """Have a block's (B, T, n, H, D) on the device inside the context."""


# Makes room for so many blocks' keys and values of a shape (B, T, n, H, D), on or for a device.
DrivingMemory = Callable[[int, torch.Size, torch.dtype, torch.device], DrivingKeys]


class ResidentDriving:
    """All in the memory of the device: at 1280x720x81 they take 62 GB in bf16."""

    def __init__(self, blocks: int, shape: torch.Size, dtype: torch.dtype, device: torch.device):
        """Allocate them all, so that memory is short now or never."""
        stored = stored_shape(shape)
        self._stored = [torch.empty(stored, dtype=dtype, device=device) for _ in range(blocks)]

    def put(self, block: int, heads: slice, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Copy those of some heads of a block."""
        for kept, given in zip(as_given(self._stored[block]), (keys, values), strict=True):
            kept[..., heads, :] = given

    def here(self, block: int) -> AbstractContextManager[KeysValues]:
        """Return a block's."""
        return nullcontext(as_given(self._stored[block]))


def stored_shape(shape: torch.Size) -> torch.Size:
    """Return the shape (2, B, H, T, n, D) in which keys and values (B, T, n, H, D) are stored.

    So those of a few heads lie side by side, as they come and as attention reads them.
    """
    batch, frames, tokens, heads, size = shape
    return torch.Size((2, batch, heads, frames, tokens, size))


def as_given(stored: torch.Tensor) -> KeysValues:
    """Return keys and values (B, T, n, H, D) that are stored, as views."""
    keys, values = stored.permute(0, 1, 3, 4, 2, 5)
    return keys, values
