"""The transformer as planned: read, placed, shared among the ranks and compiled."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from animate.config.lora_choice import LoraFile
from animate.devices.world import World
from animate.kernels.attention import choose_attention
from animate.kernels.compile import compile_blocks, import_compiler, will_compile
from animate.kernels.fp8 import check_fp8, use_fp8
from animate.model.sequence import Attention, Sequence, WholeSequence
from animate.model.transformer import SamplingTransformer
from animate.parallel.loading import Resident, Store, fill_transformer
from animate.parallel.offload import Offloaded
from animate.parallel.plan import FSDP2, OFFLOAD, Plan, model_sizes, plan_memory
from animate.parallel.sharding import Sharded
from animate.parallel.ulysses import UlyssesSequence
from animate.weights.checkpoint import empty_transformer
from animate.weights.early import EarlyWeights
from animate.weights.prepared import TRANSFORMER, transformer_folder


@dataclass(frozen=True)
class Load:
    """What a segment asks of the GPUs: its size, the forwards per step and the precisions."""

    width: int
    height: int
    frames: int
    branches: int = 1
    precision: str = "bf16"
    vae_precision: str = "bf16"

    @property
    def tokens(self) -> int:
        """Tokens of a segment, its reference's included."""
        return (self.frames // 4 + 2) * (self.height // 16) * (self.width // 16)


class Loaded(NamedTuple):
    """A model that is ready to sample, and how it runs: JSON values for the record of a clip."""

    model: SamplingTransformer
    how: dict[str, Any]


def load_sampler(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    loras: Iterable[LoraFile],
    world: World,
    load: Load,
    say: Callable[[str], None] = print,
    compiling: str = "auto",
    early: EarlyWeights | None = None,
) -> Loaded:
    """Return the transformer of a model folder, ready to sample on every rank.

    The plan is made, said and refused before any weight is read, by rank 0 for all.

    Args:
        folder: of the whole model; a copy prepared for sampling is taken where there is one.
        dtype: of the matrices; some parts are fp32 always.
        loras: the LoRA files to merge.
        load: the largest segment that will be sampled.
        compiling: "auto", "on" or "off"; see `will_compile`.
        early: weights whose reading has begun, for a rank alone; taken where they are of the folder
            that is read.

    Raises:
        ClipError: see `plan_memory`, `fill_transformer`, `UlyssesSequence`, `check_fp8` and
            `will_compile`.
    """
    able = world.gather(will_compile(compiling, device, say))
    compiled, loras = all(able), list(loras)
    if able[0] and not compiled:
        say(f"not compiled, so slower: rank {able.index(False)} has not what it takes")
    if load.precision == "fp8":
        check_fp8(device)

    # What is rounded twice is not what is rounded once.
    once = dtype == torch.bfloat16 and not loras and load.precision == "bf16"
    source = transformer_folder(folder, exact=not once)
    weights = empty_transformer(source, dtype)
    kernel, attend = choose_attention(device, weights.config.attention_head_dim, world)
    way, sequence = share_tokens(weights.config.num_attention_heads, attend, world)
    model = SamplingTransformer(weights, sequence)
    if load.precision == "fp8":
        use_fp8(model, fused=compiled)

    plan = common_plan(model, device, world, load)
    say(f"{world.size} {device.type} {way}, {plan}, {kernel} attention")
    store = place(plan, weights, model, device, world)

    compiler = import_compiler() if compiled else None
    begun = early if early and early.folder == source else None
    fill_transformer(weights, source, device, store, loras, say, world, begun)
    if early:
        early.close()

    if compiler:
        compiler.result()
        compile_blocks(model)
    store.attach(model)
    how = {
        "attention": kernel,
        "placement": plan.placement,
        "precision": load.precision,
        "compiled": compiled,
        "prepared": source != folder / TRANSFORMER,
    }
    return Loaded(model, how)


def share_tokens(heads: int, attend: Attention, world: World) -> tuple[str, Sequence]:
    """Return how the ranks share a segment's tokens, in words and as the model takes it."""
    if world.size == 1:
        return "rank", WholeSequence(attend)
    return "ranks", UlyssesSequence(heads, attend)


def common_plan(model: SamplingTransformer, device: torch.device, world: World, load: Load) -> Plan:
    """Return the plan of rank 0, made for the GPU with the least free memory."""
    free = world.gather(free_memory(device))
    memory = None if None in free else min(free)
    plan = None
    if world.leads:
        segment = (load.tokens, load.width * load.height, load.frames)
        options = load.branches, load.vae_precision
        plan = plan_memory(model_sizes(model), *segment, memory, world.size, *options)
    return world.share(plan)


def place(
    plan: Plan, weights, model: SamplingTransformer, device: torch.device, world: World
) -> Store:
    """Return the store that puts the weights where the plan has them."""
    if plan.placement == FSDP2 or (plan.placement == OFFLOAD and world.size > 1):
        return Sharded(weights, model, device, on_host=plan.placement == OFFLOAD)
    return Offloaded(weights, model, device) if plan.placement == OFFLOAD else Resident(weights)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of a GPU that are free or this process's own, None for a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
