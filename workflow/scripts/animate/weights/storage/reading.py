"""Stored tensors to a device: threads read pieces of them while earlier pieces travel to the GPU.

Pieces are read into page-locked buffers, which is faster than touching a memory map page by page
and keeps the host memory small and fixed. On a CPU they are read to where they stay.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, NamedTuple

import torch

from animate.errors import ClipError, MachineError
from animate.weights.storage.stored import Place, StoredTensor

PIECE = 16 << 20
THREADS = 8
# Two for each thread: it reads into one while the other is on its way to the GPU.
BUFFERS = 2 * THREADS
# Bytes of tensors that may be on their way or wait.
AHEAD = 512 << 20
# How safetensors names the types that weights come in.
TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
# That of rows that mean nothing without their factors.
ROWS = {"F8_E4M3": torch.float8_e4m3fn}


class Reading:
    """Stored tensors on their way to a device, from the moment this is made.

    An iterator of the tensors, whole, in their stored types or as decoded, in the order given. At
    most `ahead` bytes of them are on their way or wait; one tensor may be larger. Iterating raises
    a `ClipError` when a file cannot be read or ends early, or a tensor has a type that is no float.
    """

    def __init__(self, tensors: Iterable[StoredTensor], device: torch.device, ahead: int):
        self._left = iter(tensors)
        self._reader = _Reader(device)
        self._most, self._ahead = ahead, 0
        self._coming: deque[_Coming] = deque()
        self._fault: ClipError | None = None
        self._fill()

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __iter__(self) -> "Reading":
        return self

    def __next__(self) -> torch.Tensor:
        self._fill()
        if not self._coming:
            if self._fault:
                raise self._fault
            raise StopIteration
        coming = self._coming.popleft()
        self._ahead -= coming.target.nbytes
        return self._reader.finish(coming)

    def close(self) -> None:
        """Read no more, and forget what was not asked for."""
        self._reader.close()
        self._coming.clear()

    def _fill(self) -> None:
        while not self._fault and (self._ahead < self._most or not self._coming):
            tensor = next(self._left, None)
            if tensor is None:
                return
            try:
                self._coming.append(self._reader.start(tensor))
            except ClipError as error:
                # It is raised when this tensor is asked for.
                self._fault = error
            else:
                self._ahead += self._coming[-1].target.nbytes


def read_tensors(tensors: Iterable[StoredTensor], device: torch.device) -> Iterator[torch.Tensor]:
    """Yield each tensor as `Reading` does, which begins with the first."""
    with Reading(tensors, device, AHEAD) as coming:
        yield from coming


def stored_type(tensor: StoredTensor) -> torch.dtype:
    """Return the type of a stored tensor, or raise a `ClipError` when weights do not have it."""
    if tensor.dtype not in TYPES:
        raise ClipError(
            f"{tensor.file} stores {tensor.name} as {tensor.dtype}, but weights are read as one of"
            f" {', '.join(TYPES)}: get the model again"
        )
    return TYPES[tensor.dtype]


class _Coming(NamedTuple):
    """A tensor on its way, the reading of its pieces, and what is then made of it."""

    target: torch.Tensor
    pieces: list[Future]
    decode: Callable[[torch.Tensor], torch.Tensor] | None


class _Buffer(NamedTuple):
    """Page-locked memory; its last content has left it when `sent` is over."""

    memory: torch.Tensor
    sent: torch.cuda.Event


class _Reader:
    """The threads, the open files and, for a GPU, the buffers and the stream of the copies."""

    def __init__(self, device: torch.device):
        self._device = device
        self._cuda = device.type == "cuda"
        self._files: dict[Path, BinaryIO] = {}
        # Where each of their tensors starts.
        self._starts: dict[Path, dict[str, int]] = {}
        self._buffers: SimpleQueue[_Buffer] = SimpleQueue()
        if not self._cuda:
            self._pool = ThreadPoolExecutor(THREADS)
            return
        self._stream = torch.cuda.Stream(device)
        # A new thread's device would be the first GPU, where another rank's memory is.
        own = {"initializer": torch.cuda.set_device, "initargs": (self._stream.device,)}
        self._pool = ThreadPoolExecutor(THREADS, **own)
        for memory in torch.empty(BUFFERS, PIECE, dtype=torch.uint8, pin_memory=True):
            self._buffers.put(_Buffer(memory, torch.cuda.Event(blocking=True)))

    def close(self) -> None:
        """Start no more pieces, and wait for those under way."""
        self._pool.shutdown(cancel_futures=True)
        for file in self._files.values():
            file.close()
        # Page-locked memory.
        self._buffers = SimpleQueue()

    def start(self, stored: StoredTensor) -> _Coming:
        """Have a tensor read; its memory is taken now."""
        place = stored.place or self._place(stored)
        target = torch.empty(place.shape, dtype=place.dtype, device=self._device)
        data = target.reshape(-1).view(torch.uint8)
        file = self._opened(stored.file)
        free = None
        if self._cuda:
            # The memory may have been another tensor's, which the device still works with.
            free = torch.cuda.current_stream(self._device).record_event()
        pieces = [
            self._pool.submit(self._read, data[at : at + PIECE], file, place.start + at, free)
            for at in range(0, len(data), PIECE)
        ]
        return _Coming(target, pieces, place.decode)

    def finish(self, coming: _Coming) -> torch.Tensor:
        """Return a tensor that was started, once all of it was read; copies may be under way."""
        for piece in coming.pieces:
            piece.result()
        if self._cuda:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return coming.decode(coming.target) if coming.decode else coming.target

    def _read(
        self, target: torch.Tensor, file: BinaryIO, start: int, free: torch.cuda.Event | None
    ) -> None:
        if free is None:
            _read_into(target, file, start)
            return
        buffer = self._buffers.get()
        try:
            buffer.sent.synchronize()
            piece = buffer.memory[: len(target)]
            _read_into(piece, file, start)
            # Each thread has to say that it may change tensors made in inference mode.
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                self._stream.wait_event(free)
                target.copy_(piece, non_blocking=True)
                buffer.sent.record()
        finally:
            self._buffers.put(buffer)

    def _place(self, stored: StoredTensor) -> Place:
        """Return where a safetensors file has a tensor of the model's own name."""
        if stored.file not in self._starts:
            self._starts[stored.file] = _starts(self._opened(stored.file))
        dtype = ROWS.get(stored.dtype) or stored_type(stored)
        return Place(self._starts[stored.file][stored.name], stored.shape, dtype)

    def _opened(self, path: Path) -> BinaryIO:
        if path not in self._files:
            self._files[path] = path.open("rb", buffering=0)
        return self._files[path]


def _starts(file: BinaryIO) -> dict[str, int]:
    """Return the byte at which each tensor of a safetensors file starts, from its header."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items()}


def _read_into(target: torch.Tensor, file: BinaryIO, start: int) -> None:
    """Fill bytes (n,) on the CPU with a file's from `start` on; other threads run meanwhile."""
    left = memoryview(target.numpy())
    while left:
        try:
            count = os.preadv(file.fileno(), [left], start)
        except OSError as error:
            raise MachineError(f"{file.name} cannot be read ({error}): check the disk") from error
        if not count:
            raise ClipError(f"{file.name} is damaged (it was cut): get the model again")
        left, start = left[count:], start + count
