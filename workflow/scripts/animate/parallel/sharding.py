"""FSDP2: each rank keeps an equal share of every block's weights and gathers a block to run it."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.fsdp import register_fsdp_forward_method as also_forward
from torch.distributed.tensor import DTensor

from animate.model.wan import WanTransformer
from animate.parallel.loading import Resident
from animate.parallel.offload import padded, page_locked, views


class Sharded(Resident):
    """Shards the blocks of a model on the meta device, then keeps this rank's rows of them.

    The parts outside the blocks, 2% of the weights, are whole on every rank. With `on_host` the
    shards wait in pinned host memory and travel to the GPU when their block runs.
    """

    def __init__(
        self,
        weights: nn.Module,
        model: WanTransformer,
        device: torch.device,
        on_host: bool = False,
    ):
        super().__init__(weights)
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        pinned = CPUOffloadPolicy(pin_memory=device.type == "cuda")
        policy = pinned if on_host else OffloadPolicy()
        inside = {id(p) for block in model.blocks for p in block.parameters()}
        outside = {p for p in model.parameters() if id(p) not in inside}
        for block in model.blocks:
            fully_shard(block, mesh=mesh, offload_policy=policy)
            also_forward(block, "constants")
            block.to_empty(device="cpu" if on_host else device)
        # The root shards nothing, but lets the blocks gather ahead of one another.
        fully_shard(model, mesh=mesh, ignored_params=outside)
        for name in model.ENTRIES:
            also_forward(model, name)
        self._shards = {n: p for n, p in weights.named_parameters() if isinstance(p, DTensor)}
        if on_host:
            self._lock_pages(device)

    def _lock_pages(self, device: torch.device) -> None:
        """Move this rank's shards to memory where FSDP2 finds them pinned and pins no copies."""
        parts = [shard.to_local() for shard in self._shards.values()]
        buffer = page_locked(sum(map(padded, parts)), device)
        for shard, view in zip(self._shards.values(), views(buffer, parts), strict=True):
            # As FSDP2 itself does; there is no public way.
            shard._local_tensor = view

    def rows(self, name: str, shape: torch.Size) -> slice:
        """Return this rank's rows of a block's parameter, all of any other."""
        if name not in self._shards:
            return slice(None)
        share = -(-shape[0] // dist.get_world_size())
        start = min(dist.get_rank() * share, shape[0])
        return slice(start, min(start + share, shape[0]))

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Fill this rank's shard, or make `tensor` the parameter outside the blocks."""
        if name in self._shards:
            self._shards[name].to_local().copy_(tensor)
        else:
            super().put(name, tensor)
