"""The processes that share a clip: who this one is, and what rank 0 tells the others.

Small things travel through a group of their own, on the CPU: there a rank may wait for another's
disk as long as it takes, while NCCL gives up after ten minutes.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from animate.devices.parent import UNEXPECTED
from animate.errors import ClipError

# A rank that died is torchrun's to notice; this only has to outlast every disk.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """This process among those that sample one clip together; `control` is the CPU's group."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    control: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this process reads inputs and writes outputs for all."""
        return self.rank == 0

    def share(self, value: Any = None) -> Any:
        """Return rank 0's `value` on every rank; it is pickled, so for small things."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's `value`, in the order of the ranks, on every rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def give(self, tensor: torch.Tensor, source: int) -> None:
        """Fill a contiguous tensor on every rank's device with that of rank `source`."""
        if self.size > 1:
            # As bytes: not every backend knows every type.
            dist.broadcast(tensor.reshape(-1).view(torch.uint8), src=source)

    def share_tensor(self, tensor: torch.Tensor | None, device: torch.device) -> torch.Tensor:
        """Return rank 0's tensor on every rank, on the CPU; it travels over `device`.

        The other ranks may wait for rank 0 as long as it takes.
        """
        if self.size == 1:
            return tensor
        shape, dtype = self.share(None if tensor is None else (tensor.shape, tensor.dtype))
        moved = tensor.to(device) if self.leads else torch.empty(shape, dtype=dtype, device=device)
        dist.broadcast(moved, src=0)
        return tensor if self.leads else moved.cpu()


ALONE = World()


@contextmanager
def join_world(device_type: str) -> Iterator[World]:
    """Join the process group that torchrun's environment describes: NCCL on "cuda", gloo on "cpu".

    An exception names the rank and, unless it is a `ClipError`, ends the process at once, without
    waiting for ranks that may be stuck in a collective; torchrun then ends the others. When all
    ranks are done the processes end at once,
    too: whatever fails while libraries are taken down no longer concerns the finished clip.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    rank, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
    if device_type == "cuda":
        torch.cuda.set_device(local_rank)
    control = _init_process_group(device_type) if size > 1 else None
    world = World(rank, size, local_rank, control)
    try:
        yield world
        # All are done before any leaves; the finished clip does not depend on it.
        with suppress(RuntimeError):
            world.gather(None)
    except ClipError as error:
        print(f"rank {world.rank} of {size}: {error}", file=sys.stderr, flush=True)
        raise
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        print(f"rank {world.rank} of {size} failed: {error}", file=sys.stderr, flush=True)
        os._exit(UNEXPECTED)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(0)


def _init_process_group(device_type: str) -> dist.ProcessGroup:
    """Start the ranks' group, by which tensors travel; return the one for small things."""
    # Both groups take the network that a site has chosen.
    chosen = os.environ.get("NCCL_SOCKET_IFNAME", "").removeprefix("=").split(",")[0]
    if chosen and Path("/sys/class/net", chosen).exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", chosen)
    if device_type == "cuda":
        options = dist.ProcessGroupNCCL.Options()
        # What travels during attention would otherwise wait until attention leaves the GPU.
        options.is_high_priority_stream = True
        dist.init_process_group("nccl", pg_options=options)
    else:
        dist.init_process_group("gloo")
    return dist.new_group(backend="gloo", timeout=PATIENCE)
