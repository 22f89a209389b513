"""The transformer as planned: read, placed, shared among the ranks and compiled."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from animate.model.checkpoint import Resident, empty_transformer, fill_transformer
from animate.model.lora import LoraFile
from animate.model.sequence import WholeSequence
from animate.model.transformer import SamplingTransformer
from animate.parallel.attention import choose_attention
from animate.parallel.compile import compile_blocks
from animate.parallel.exchange import choose_exchange
from animate.parallel.fp8 import use_fp8
from animate.parallel.offload import Offloaded
from animate.parallel.plan import FSDP2, OFFLOAD, Plan, model_sizes, plan_memory
from animate.parallel.sharding import Sharded
from animate.parallel.ulysses import UlyssesSequence
from animate.parallel.world import World


@dataclass(frozen=True)
class Load:
    """What a segment asks of the GPUs: its size, the forwards per step and their precision."""

    width: int
    height: int
    frames: int
    branches: int = 1
    precision: str = "bf16"

    @property
    def tokens(self) -> int:
        """Tokens of a segment, its reference's included."""
        return (self.frames // 4 + 2) * (self.height // 16) * (self.width // 16)


def load_sampler(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    loras: list[LoraFile],
    world: World,
    load: Load,
    say: Callable[[str], None] = print,
) -> SamplingTransformer:
    """Return the transformer of a model folder, ready to sample on every rank.

    The plan is made, said and refused before any weight is read.

    Raises:
        ClipError: see `plan_memory`, `fill_transformer`, `UlyssesSequence` and `use_fp8`.
    """
    weights = empty_transformer(folder, dtype)
    kernel, attend = choose_attention(device)
    heads = weights.config.num_attention_heads
    shared = world.size > 1
    if shared:
        way, exchange = choose_exchange(device)
        sequence = UlyssesSequence(load.tokens, heads, attend, exchange=exchange)
    else:
        sequence = WholeSequence(attend)
    model = SamplingTransformer(weights, sequence)
    plan = plan_memory(
        model_sizes(model),
        load.tokens,
        load.width * load.height,
        load.frames,
        free_memory(device),
        world.size,
        load.branches,
        load.precision,
    )
    ranks = f"{device.type} ranks by {way}" if shared else f"{device.type} rank"
    say(f"{world.size} {ranks}, {plan}, {kernel} attention")
    store = place(plan, weights, model, device, world)
    fill_transformer(weights, folder, device, store, loras, say)
    # The one parameter that the sampler's model holds itself.
    model.scale_shift_table = weights.scale_shift_table
    if load.precision == "fp8":
        use_fp8(model)
    if device.type == "cuda":
        compile_blocks(model)
    if isinstance(store, Offloaded):
        store.attach(model)
    return model


def place(
    plan: Plan, weights, model: SamplingTransformer, device: torch.device, world: World
) -> Resident:
    """Return the store that puts the weights where the plan has them."""
    if plan.placement == FSDP2 or (plan.placement == OFFLOAD and world.size > 1):
        return Sharded(weights, model, device, on_host=plan.placement == OFFLOAD)
    return Offloaded(weights, model, device) if plan.placement == OFFLOAD else Resident(weights)


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a GPU, None for a CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
