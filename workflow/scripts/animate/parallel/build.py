"""The transformer for sampling: built, converted, placed, loaded and compiled, in this order."""

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from socket import gethostname
from typing import Any, NamedTuple

import torch

from animate.config.lora_choice import LoraFile
from animate.devices.host_memory import free_host_memory
from animate.devices.world import World
from animate.errors import ClipError, HostMemoryShort, MemoryShort
from animate.kernels.attention8.choose import refusal
from animate.kernels.compile import compile_blocks, will_compile
from animate.kernels.fp8 import convert_to_fp8, multiplies_fp8
from animate.kernels.imports import Imports
from animate.kernels.ops import choose_ops
from animate.model.token_sharding import NoSharding, TokenSharding
from animate.model.wan import WanTransformer
from animate.parallel.forwards import FORWARDS
from animate.parallel.loading import Resident, Store, fill_transformer
from animate.parallel.offload import Offloaded
from animate.parallel.plan import (
    FSDP2,
    GIB,
    OFFLOAD,
    REPLICATED,
    Plan,
    Workload,
    check_host_memory,
    model_sizes,
    overhead,
    plan_memory,
    spread,
)
from animate.parallel.ulysses import UlyssesSharding
from animate.weights.checkpoint import empty_transformer
from animate.weights.prepared import PREPARED, TRANSFORMER, transformer_folder
from animate.weights.storage.early import EarlyWeights


class Free(NamedTuple):
    """The bytes free on this rank's GPU, None for a CPU, and on its host; see `plan_memory`."""

    gpu: int | None
    host: tuple[str, int | None]


class Built(NamedTuple):
    """A model that is ready to sample, and how it runs: JSON values for the record of a clip."""

    model: WanTransformer
    how: dict[str, Any]


def build_transformer(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    loras: Iterable[LoraFile],
    world: World,
    workload: Workload,
    say: Callable[[str], None] = print,
    compiling: str = "auto",
    early: EarlyWeights | None = None,
    fresh: Free | None = None,
    transformer_file: Path | None = None,
    imports: Imports | None = None,
    meanwhile: Callable[[bool, Callable[[], None], bool], None] | None = None,
) -> Built:
    """Return the transformer of a model folder, ready to sample on every rank.

    The plan is made, said and refused before any weight is read, by rank 0 for all.

    Args:
        folder: of the whole model; a copy prepared for sampling is taken where there is one.
        dtype: of the matrices; some parts are fp32 always.
        loras: the LoRA files to merge.
        workload: of the largest segment that will be sampled.
        compiling: "auto", "on" or "off"; see `will_compile`.
        early: weights whose reading has begun, for a rank alone; taken where they are of the source
            that is read.
        fresh: see `common_plan`.
        transformer_file: one file with the transformer, which is read in place of the folder's.
        imports: those for this device, where they have begun.
        meanwhile: called while `early` weights come, if all of them stay on this device; with
            whether blocks are compiled, with what waits until the compiler can be used, and with
            whether the model is computed by frames.

    Raises:
        ClipError: see `plan_memory`, `blocks_on_disk`, `fill_transformer`, `UlyssesSharding`,
            `multiplies_fp8`, `will_compile`, and `refusal` and `choose_attention8` of 8-bit
            attention.
    """
    able = world.gather(will_compile(compiling, device, say))
    compiled, loras = all(able), list(loras)
    if able[0] and not compiled:
        say(f"not compiled, so slower: rank {able.index(False)} has not what it takes")
    in_fp8, fused = workload.precision == "fp8", compiled and device.type == "cuda"
    # The ranks give each other what they read, so that they all keep it alike.
    widened = in_fp8 and not all(world.gather(multiplies_fp8(device)))
    if widened:
        say("no fp8 products on this GPU: weights in fp8 are multiplied back where they are used")

    imports = imports or Imports(device.type, compiled)

    # Build and convert on the meta device: placing needs the final sizes, but no weights.
    # What is rounded twice is not what is rounded once.
    rounded = workload.precision if dtype == torch.bfloat16 and not loras else None
    source = transformer_file or transformer_folder(folder, rounded)
    weights = empty_transformer(folder / TRANSFORMER, dtype)
    forward = FORWARDS[type(weights).__name__]
    if in_fp8:
        convert_to_fp8(weights, fused, widened)
    way, sharding = share_tokens(weights.config[forward.heads], world)
    ops = choose_ops(sharding.attend, workload.precision, fused, widened)
    model = forward.make(weights, sharding, ops)
    if workload.attention == "8bit":
        refuse_together(refusal(device, model.head_size), world)

    # Place.
    plan = common_plan(model, device, world, workload, fresh)
    say(f"{world.size} {device.type} {way}, {plan}")
    on_disk = blocks_on_disk(plan, folder, world, say)
    if plan.by_frames:
        model.compute_by_frames()
    forward.keep(model, plan)
    if plan.placement != REPLICATED and world.size > 1:
        # That imports FSDP, which the compiler imports, too.
        imports.wait()
    store = place(plan, weights, model, device, world, on_disk)

    # Load.
    begun = early if early and early.source == source else None
    if meanwhile and begun and plan.placement == REPLICATED:
        meanwhile(compiled, imports.compiler, plan.by_frames)
    fill_transformer(weights, source, device, store, loras, say, world, begun)
    if early:
        early.close()

    # Choose the kernel, and compile.
    imports.wait()
    kernel = forward.use_kernels(model, device, world, compiled, workload.attention)
    say(f"{kernel} attention")
    if compiled:
        # In fp8, code for any length has not been measured.
        compile_blocks(model, any_length=not in_fp8)
    how = {
        "attention": kernel,
        "placement": plan.placement,
        "precision": workload.precision,
        "compiled": compiled,
        **({"widened": True} if widened else {}),
        **({"by_frames": True} if plan.by_frames else {}),
        **({"streamed": True} if plan.streamed else {}),
        **({"resident_blocks": plan.resident} if plan.resident else {}),
        "prepared": source not in (transformer_file, folder / TRANSFORMER),
    }
    return Built(model, how)


def refuse_together(reason: str | None, world: World) -> None:
    """Raise a `ClipError` on every rank with the first reason that one has."""
    reasons = list(filter(None, world.gather(reason)))
    if reasons:
        raise ClipError(reasons[0])


def share_tokens(heads: int, world: World) -> tuple[str, TokenSharding]:
    """Return how the ranks share a segment's tokens, in words and as the model takes it."""
    if world.size == 1:
        return "rank", NoSharding()
    return "ranks", UlyssesSharding(heads)


def common_plan(
    model: WanTransformer,
    device: torch.device,
    world: World,
    workload: Workload,
    fresh: Free | None = None,
) -> Plan:
    """Return the plan of rank 0, made for the GPU with the least free memory.

    `fresh` is what was free when this process had not sampled yet. What CUDA, its libraries and the
    models have taken since then is part of any plan, and so counts as free.

    Raises:
        MemoryShort: on every rank; see `plan_memory`.
    """
    now, before = free_memory(device), fresh and fresh.gpu
    if None not in (now, before):
        now = min(now + overhead(world.size), max(now, before))
    free = world.gather(Free(now, fresh.host if fresh else host_memory()))
    memory = None if free[0].gpu is None else min(one.gpu for one in free)
    hosts = [one.host for one in free]
    plan = short = None
    if world.leads:
        segment = (workload.tokens, workload.width * workload.height, workload.frames)
        options = workload.branches, workload.vae_precision, hosts, workload.attention
        try:
            plan = plan_memory(model_sizes(model), *segment, memory, world.size, *options)
        except MemoryShort as error:
            short = error
    plan, short = world.share((plan, short))
    if short:
        raise short
    return plan


def blocks_on_disk(
    plan: Plan, folder: Path, world: World, say: Callable[[str], None]
) -> Path | None:
    """Return where a rank alone keeps the blocks for which its host has no room, else None.

    That is beside the copies of the model, on a disk that is large.

    Raises:
        HostMemoryShort: one of several ranks has no room for its part, or the disk has none.
    """
    try:
        check_host_memory(plan, world.gather(host_memory()))
    except HostMemoryShort as short:
        on_disk = folder / PREPARED
        if world.size > 1 or plan.streamed:
            raise
        if not has_room(on_disk, plan.host_memory):
            room = f"{plan.host_memory / GIB:.1f} GiB that can be written in {on_disk}"
            raise HostMemoryShort(f"{short}, or have {room}, which is slower") from short
        say(f"slower: {short}. They are read from a file in {on_disk} in each step")
        return on_disk
    return None


def has_room(folder: Path, size: int) -> bool:
    """Return whether files of that many bytes can be made in a folder, which is made, too."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK) and size < shutil.disk_usage(folder).free
    except OSError:
        return False


def place(
    plan: Plan,
    weights,
    model: WanTransformer,
    device: torch.device,
    world: World,
    on_disk: Path | None = None,
) -> Store:
    """Return the store that puts the weights where the plan has them.

    `on_disk`: the folder for those that belong into host memory, where that is short.
    """
    if plan.placement == FSDP2 or (plan.placement == OFFLOAD and world.size > 1):
        # Imported here because FSDP takes a while, and whole weights have no use for it.
        from animate.parallel.sharding import Sharded

        return Sharded(weights, model, device, on_host=plan.placement == OFFLOAD)
    if plan.placement == OFFLOAD:
        return Offloaded(weights, model, device, on_disk, spread(plan.resident, len(model.blocks)))
    return Resident(weights)


def host_memory() -> tuple[str, int | None]:
    """Return the name of this host and the bytes free in its memory, None when it does not tell."""
    try:
        return gethostname(), free_host_memory()
    except (OSError, ValueError):
        return gethostname(), None


def free_here(device: torch.device) -> Free:
    """Return what is free for this rank."""
    return Free(free_memory(device), host_memory())


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of a GPU that are free or this process's own, None for a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
