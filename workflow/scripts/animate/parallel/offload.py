"""Weights of the blocks in host memory; each travels to the GPU while the one before it runs.

A block's tensors lie side by side in page-locked memory, so a block is one copy, on a stream of its
own, into one of two device buffers that the blocks use in turn. The parameters are views of those
buffers. Where the host has no room for them, they lie in a file that is mapped, of which the system
keeps in memory what it can.
"""

import mmap
import os
import weakref
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import torch
from torch import nn

from animate.errors import HostMemoryShort
from animate.model.wan import WanTransformer
from animate.parallel.loading import Resident
from animate.weights.checkpoint import assign

SLOTS = 2
ALIGNMENT = 256


class Offloaded(Resident):
    """Keeps the blocks' tensors in host memory, all others on the device, as they are read.

    With `folder`, they are in a file without a name there instead; see `mapped_file`. Blocks of the
    numbers in `resident` are like the tensors outside the blocks.
    """

    def __init__(
        self,
        weights: nn.Module,
        model: WanTransformer,
        device: torch.device,
        folder: Path | None = None,
        resident: Container[int] = (),
    ):
        super().__init__(weights)
        names = {id(parameter): name for name, parameter in weights.named_parameters()}
        blocks = [block for number, block in enumerate(model.blocks) if number not in resident]
        layouts = [_layout(block, names) for block in blocks]
        sizes = [sum(map(padded, layout.values())) for layout in layouts]
        slots = [torch.empty(max(sizes), dtype=torch.uint8, device=device) for _ in range(SLOTS)]
        self._host_views: dict[str, torch.Tensor] = {}
        size = sum(sizes)
        buffer = mapped_file(size, folder) if folder else page_locked(size, device)
        hosts = buffer.split(sizes)
        for index, (layout, host) in enumerate(zip(layouts, hosts, strict=True)):
            self._host_views |= dict(zip(layout, views(host, layout.values()), strict=True))
            for name, view in zip(
                layout, views(slots[index % SLOTS], layout.values()), strict=True
            ):
                assign(weights, name, view)
        prefetch = Prefetch(hosts, slots, locked=folder is None)
        for index, block in enumerate(blocks):
            block.prefetch_by(partial(prefetch.here, index))

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Copy a block's tensor to the host, or make `tensor` the parameter outside the blocks."""
        if name in self._host_views:
            self._host_views[name].copy_(tensor)
        else:
            super().put(name, tensor)


class Prefetch:
    """Copies blocks from host buffers to the slots, one ahead of the one in use."""

    def __init__(self, hosts: Sequence[torch.Tensor], slots: list[torch.Tensor], locked: bool):
        self._hosts, self._slots, self._locked = hosts, slots, locked
        self._held: list[int | None] = [None] * len(slots)
        cuda = slots[0].is_cuda
        self._stream = torch.cuda.Stream(slots[0].device) if cuda else None
        self._arrived = [torch.cuda.Event() for _ in slots] if cuda else []
        self._used = [torch.cuda.Event() for _ in slots] if cuda else []

    @contextmanager
    def here(self, index: int) -> Iterator[torch.Tensor]:
        """Yield the slot with a block, and start to copy the next block."""
        slot = index % len(self._slots)
        following = (index + 1) % len(self._hosts)
        self._copy(index)
        if self._stream:
            torch.cuda.current_stream().wait_event(self._arrived[slot])
        other = following % len(self._slots) != slot
        if other and self._locked:
            self._copy(following)
        yield self._slots[slot]
        if self._stream:
            self._used[slot].record()
        # A copy from other memory has this process wait: the GPU has its work before that.
        if other and not self._locked:
            self._copy(following)

    def forget(self) -> None:
        """Take what the slots hold for outdated; what was begun on the device comes first."""
        self._held = [None] * len(self._slots)
        for event in self._used:
            event.record()

    def _copy(self, index: int) -> None:
        slot = index % len(self._slots)
        if self._held[slot] == index:
            return
        self._held[slot] = index
        target, host = self._slots[slot], self._hosts[index]
        if self._stream is None:
            target[: host.numel()].copy_(host)
            return
        self._stream.wait_event(self._used[slot])
        with torch.cuda.stream(self._stream):
            target[: host.numel()].copy_(host, non_blocking=True)
            self._arrived[slot].record()


def _layout(block: nn.Module, names: dict[int, str]) -> dict[str, torch.Tensor]:
    return {names[id(parameter)]: parameter for parameter in block.parameters()}


def padded(tensor: torch.Tensor) -> int:
    """Return the bytes that a tensor takes in a buffer of several."""
    return -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT


def page_locked(size: int, device: torch.device) -> torch.Tensor:
    """Return uint8 host memory (size,) that a GPU copies from by itself; a CPU needs no such thing.

    It is exactly as large as asked for, where PyTorch's allocator takes the next power of two.
    """
    if device.type != "cuda":
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Pages of 2 MiB are made faster than those of 4 KiB; not every kernel has them.
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    buffer = torch.frombuffer(memory, dtype=torch.uint8)
    # Several threads make the pages; locking would make them one after the other.
    buffer.zero_()
    cuda, address = torch.cuda.cudart(), buffer.data_ptr()
    status = cuda.cudaHostRegister(address, size, 0)
    if int(status):
        raise HostMemoryShort(
            f"{size / 2**30:.1f} GiB of host memory for the weights cannot be locked ({status}):"
            " free some, raise `ulimit -l`, or set gpus higher"
        )
    weakref.finalize(memory, cuda.cudaHostUnregister, address)
    return buffer


def mapped_file(size: int, folder: Path) -> torch.Tensor:
    """Return uint8 memory (size,) that is a file without a name in `folder`, gone with its user.

    Raises:
        OSError: the folder cannot be written, or its disk has not that much room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        # Taken now: a full disk would later kill this process.
        os.posix_fallocate(file.fileno(), 0, size)
        memory = mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED)
    # Blocks are read from their beginning to their end.
    memory.madvise(mmap.MADV_SEQUENTIAL)
    return torch.frombuffer(memory, dtype=torch.uint8)


def views(buffer: torch.Tensor, tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return views of a buffer (bytes,), side by side, that are shaped as some (meta) tensors."""
    found, start = [], 0
    for tensor in tensors:
        part = buffer[start : start + tensor.nbytes]
        found.append(part.view(tensor.dtype).view(tensor.shape))
        start += padded(tensor)
    return found
