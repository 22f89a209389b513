"""The processes that share a clip: who this one is, and what rank 0 tells the others."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from animate.errors import ClipError

PR_SET_PDEATHSIG = 1
# Apart from 1, the code of a rank that has told what is wrong with its clip.
UNEXPECTED = 70


@dataclass(frozen=True)
class World:
    """This process among those that sample one clip together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process reads inputs and writes outputs for all."""
        return self.rank == 0

    def share(self, value: Any = None) -> Any:
        """Return rank 0's `value` on every rank; it is pickled, so for small things."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's `value`, in the order of the ranks, on every rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def give(self, tensor: torch.Tensor, source: int) -> None:
        """Fill a contiguous tensor on every rank's device with that of rank `source`."""
        if self.size > 1:
            # As bytes: not every backend knows every type.
            dist.broadcast(tensor.reshape(-1).view(torch.uint8), src=source)

    def share_tensor(self, tensor: torch.Tensor | None, device: torch.device) -> torch.Tensor:
        """Return rank 0's tensor on every rank, on the CPU; it travels over `device`."""
        if self.size == 1:
            return tensor
        shape, dtype = self.share(None if tensor is None else (tensor.shape, tensor.dtype))
        moved = tensor.to(device) if self.leads else torch.empty(shape, dtype=dtype, device=device)
        dist.broadcast(moved, src=0)
        return tensor if self.leads else moved.cpu()


ALONE = World()


@contextmanager
def join_world() -> Iterator[World]:
    """Join the process group that torchrun's environment describes: NCCL on GPUs, gloo on CPUs.

    An exception names the rank and, unless it is a `ClipError`, ends the process at once, without
    waiting for ranks that may be stuck in a collective; torchrun then ends the others.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    world = World(int(os.environ.get("RANK", 0)), size, int(os.environ.get("LOCAL_RANK", 0)))
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank)
    if size == 1:
        yield world
        return
    die_with_parent()
    _init_process_group()
    try:
        yield world
    except ClipError as error:
        print(f"rank {world.rank} of {size}: {error}", file=sys.stderr, flush=True)
        raise
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        print(f"rank {world.rank} of {size} failed: {error}", file=sys.stderr, flush=True)
        os._exit(UNEXPECTED)
    dist.destroy_process_group()


def _init_process_group() -> None:
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return
    options = dist.ProcessGroupNCCL.Options()
    # What travels during attention would otherwise wait until attention leaves the GPU.
    options.is_high_priority_stream = True
    dist.init_process_group("nccl", pg_options=options)


def die_with_parent() -> None:
    """Have the kernel kill this process when its launcher dies, so that none keeps a GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
