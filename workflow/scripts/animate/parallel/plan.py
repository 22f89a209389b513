"""Where the weights go, decided before anything is loaded, from the model's real sizes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from animate.errors import HostMemoryShort, MemoryShort

if TYPE_CHECKING:
    from animate.model.wan import WanTransformer

GIB = 2**30
# What CUDA, its libraries and the allocator's gaps take besides tensors, and how much more that is
# with several GPUs; measured on H200s. Without NVLink there are 2 GiB more of gaps.
OVERHEAD, SHARING = 1.5 * GIB, 1.5 * GIB
# Bytes per pixel of a rank that the VAE works in, and per pixel and frame of the whole video that
# each rank puts together; measured, with the compiled forward in bf16; fp32 by arithmetic alone.
VAE_WORK, VAE_FRAME = {"bf16": 6800, "fp32": 2 * 6800}, 30
# Bytes per pixel and frame of the video that is encoded.
ENCODED_FRAME = {"bf16": 6, "fp32": 12}
# Where memory is short, the VAE takes so many bands of a frame, one after the other: more take less
# memory and compute more of them twice.
BANDS = 4
# What that takes, as `tests/parallel/test_vae_bands.py` counts it: bytes per pixel
# of a band, and how many more rows the halo takes. Frames and their quarter of latent frames, in
# 384 channels of an eighth of the size, are held whole. So much per frame is held before or after.
DECODED_BAND, DECODED_HALO = {"bf16": 9400, "fp32": 2 * 9400}, 27
ENCODED_BAND, ENCODED_HALO = {"bf16": 7550, "fp32": 2 * 7550}, 140
DEEP_FRAME, JOINED_FRAME = {"bf16": 3, "fp32": 6}, 36
# Bytes of a token's rotary positions: cosine and sine of 64 angles in fp32.
ROTARY = 512
# What is left free where blocks fill a GPU: an expected peak is no more than that.
SPARE = 1.5 * GIB
REPLICATED, FSDP2, OFFLOAD = "replicated", "fsdp2", "offload"

# The host of each rank, by name, and the bytes free in its memory, None when that is not known.
Hosts = Sequence[tuple[str, int | None]]


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model's blocks and of all else, and what its activations depend on.

    `kept` are the bytes that all blocks keep of each driving token through a segment.
    """

    blocks: tuple[int, ...]
    rest: int
    width: int
    hidden: int
    kept: int = 0

    @property
    def whole(self) -> int:
        """All weights."""
        return sum(self.blocks) + self.rest


@dataclass(frozen=True)
class Workload:
    """What there is to compute for a segment: its size, the forwards per step, the precisions."""

    width: int
    height: int
    frames: int
    branches: int = 1
    precision: str = "bf16"
    vae_precision: str = "bf16"
    attention: str = "exact"

    @property
    def tokens(self) -> int:
        """Tokens of a segment, its reference's included."""
        return (self.frames // 4 + 2) * (self.height // 16) * (self.width // 16)


@dataclass(frozen=True)
class Plan:
    """A placement of the weights and the peak of GPU memory expected with it, in bytes.

    `host_memory` are the bytes that all ranks together lock in the memory of their hosts. With
    `by_frames`, the transformer takes one latent frame's tokens at a time, and the VAE one band of
    the frames. With `streamed`, what is kept of the driving video lies in host memory. `resident`
    blocks are on the GPU although others are offloaded.
    """

    placement: str
    peak: int
    host_memory: int = 0
    by_frames: bool = False
    streamed: bool = False
    resident: int = 0

    def __str__(self) -> str:
        host = f", {self.host_memory / GIB:.1f} GiB in host memory" if self.host_memory else ""
        way = f" but for {self.resident} blocks" if self.resident else ""
        way += ", computed by latent frames" if self.by_frames else ""
        way += ", keys of the driving video streamed" if self.streamed else ""
        return (
            f"weights {self.placement}{way}, expected peak {self.peak / GIB:.1f} GiB per GPU{host}"
        )


def model_sizes(model: "WanTransformer") -> Sizes:
    """Return the sizes of a model; it may be on the meta device."""
    # Imported here because a cluster's requests are planned without PyTorch.
    from animate.model.ops import feed_forward_layers

    blocks = tuple(sum(p.nbytes for p in block.parameters()) for block in model.blocks)
    whole = sum(p.nbytes for p in model.parameters())
    up = feed_forward_layers(model.blocks[0].block.ffn)[0].weight
    return Sizes(blocks, whole - sum(blocks), up.shape[1], up.shape[0], model.kept_per_token)


def plan_memory(
    sizes: Sizes,
    tokens: int,
    pixels: int,
    frames: int,
    memory: int | None,
    ranks: int,
    branches: int = 1,
    vae_precision: str = "bf16",
    hosts: Hosts = (),
    attention: str = "exact",
) -> Plan:
    """Return the fastest placement that fits the GPU with the least memory.

    Of those, the first that the hosts have room for, and the first of all where they have for none.

    Args:
        tokens, pixels, frames: of a segment: its tokens, one frame's pixels, its frames.
        memory: bytes free on each GPU; None means the CPU, where everything is replicated.
        branches: forwards per step, two with guidance.
        vae_precision: "bf16" or "fp32".
        hosts: each rank's host, by name, and the bytes free there, None when that is not known.
        attention: "exact" or "8bit".

    Raises:
        MemoryShort: nothing fits; it names what to change.
    """
    every = plans(sizes, tokens, pixels, frames, ranks, branches, vae_precision, attention)
    fitting = [plan for plan in every if memory is None or plan.peak <= memory]
    if memory is not None and ranks == 1:
        fitting = [_with_residents(plan, sizes, memory) for plan in fitting]
    if fitting:
        return next((plan for plan in fitting if host_shortage(plan, hosts) is None), fitting[0])
    least = min(every, key=lambda plan: plan.peak)
    raise MemoryShort(
        f"sampling needs {least.peak / GIB:.1f} GiB of GPU memory ({least.placement}), but"
        f" {memory / GIB:.1f} GiB are free on each of {ranks} GPU{'s' if ranks > 1 else ''}: set"
        " segment_frames or resolution_area lower or gpus higher"
    )


def plans(
    sizes: Sizes,
    tokens: int,
    pixels: int,
    frames: int,
    ranks: int,
    branches: int = 1,
    vae_precision: str = "bf16",
    attention: str = "exact",
) -> list[Plan]:
    """Return every plan, the fastest first; the arguments are those of `plan_memory`.

    What stays on GPUs comes before what travels from a host, keys before weights. Within each, what
    is computed whole comes before what is computed by frames, which is there where it takes less.
    """
    works = [
        (
            transformer_work(sizes, tokens, frames, ranks, branches, by_frames, attention),
            vae_work(pixels, frames, ranks, vae_precision, by_frames),
        )
        for by_frames in (False, True)
    ]
    kept = sizes.kept * driving_tokens(tokens, frames)
    # Streamed, two blocks' are on the GPU.
    keeping = {False: kept // ranks}
    if kept:
        keeping[True] = 2 * kept // (len(sizes.blocks) * ranks)
    found = []
    for placements in _weights(sizes, ranks):
        for streamed, keys in keeping.items():
            for by_frames in (False, True):
                for name, (held, gathered, locked) in placements.items():
                    # What is gathered for a block is not there while the VAE works.
                    work, parts = (max(gathered + step, vae) for step, vae in works)
                    if by_frames and parts >= work:
                        continue
                    peak = held + keys + (parts if by_frames else work) + overhead(ranks)
                    host = locked + (kept if streamed else 0)
                    found.append(Plan(name, peak, host, by_frames, streamed))
    return found


def _weights(sizes: Sizes, ranks: int) -> list[dict[str, tuple[int, int, int]]]:
    """Return the placements of weights on the GPU, then those on the host.

    Each has the bytes that it holds on a GPU, those that come while a step is computed, and those
    in the memory of all hosts.
    """
    largest, blocks = max(sizes.blocks), sum(sizes.blocks)
    here = {REPLICATED: (sizes.whole, 0, 0)}
    if ranks == 1:
        return [here, {OFFLOAD: (sizes.rest + 2 * largest, 0, blocks)}]
    # Ranks gather a block while they hold the one in use and their share of the next.
    here[FSDP2] = blocks // ranks + sizes.rest, 3 * largest, 0
    return [here, {OFFLOAD: (sizes.rest, 3 * largest, blocks)}]


def _with_residents(plan: Plan, sizes: Sizes, memory: int) -> Plan:
    """Return a plan in which blocks stay on the GPU as far as its memory goes, but for `SPARE`.

    Each of them spares the host its memory, and a copy in every step.
    """
    if plan.placement != OFFLOAD:
        return plan
    # Two take turns in what is on the GPU for those that travel.
    for count in range(len(sizes.blocks) - 2, 0, -1):
        spared = sum(sizes.blocks[index] for index in spread(count, len(sizes.blocks)))
        if plan.peak + spared + SPARE <= memory:
            peak, host = plan.peak + spared, plan.host_memory - spared
            return replace(plan, peak=peak, host_memory=host, resident=count)
    return plan


def spread(count: int, length: int) -> frozenset[int]:
    """Return so many numbers below `length`, spread evenly: copies lie as far apart as they can."""
    return frozenset((2 * n + 1) * length // (2 * count) for n in range(count))


def driving_tokens(tokens: int, frames: int) -> int:
    """Return how many of a segment's tokens are not its reference's: those of its driving video."""
    return tokens * (frames // 4 + 1) // (frames // 4 + 2)


def host_shortage(plan: Plan, hosts: Hosts) -> tuple[str, int, int] | None:
    """Return the first host without room for its ranks' part of a plan, None where all have it.

    It is given by name, with the bytes needed and those free there.
    """
    ranks = Counter(name for name, _ in hosts)
    for name, free in hosts:
        needed = plan.host_memory * ranks[name] // len(hosts)
        if free is not None and needed > free:
            return name, needed, free
    return None


def check_host_memory(plan: Plan, hosts: Hosts) -> None:
    """Refuse a plan that puts more into host memory than some host has room for.

    `hosts` as `plan_memory` has them.

    Raises:
        HostMemoryShort: it names what to change.
    """
    short = host_shortage(plan, hosts)
    if short:
        name, needed, free = short
        what = "weights and the driving video's keys do" if plan.streamed else "weights do"
        instead = "segment_frames or resolution_area lower" if plan.streamed else "precision to fp8"
        raise HostMemoryShort(
            f"the {what} not fit the GPU memory and need {needed / GIB:.1f} GiB of host"
            f" memory, but {free / GIB:.1f} GiB are free on {name}: close other programs, ask"
            f" for more memory, set {instead} or gpus higher"
        )


def overhead(ranks: int) -> int:
    """Return the bytes of each of `ranks` GPUs that sampling takes besides tensors."""
    return int(OVERHEAD + (SHARING if ranks > 1 else 0))


def transformer_work(
    sizes: Sizes,
    tokens: int,
    frames: int,
    ranks: int,
    branches: int,
    by_frames: bool = False,
    attention: str = "exact",
) -> int:
    """Return the bytes of the transformer's activations on each rank; see `plan_memory`."""
    own, width = -(-tokens // ranks), sizes.width
    # Residual stream and condition tokens in fp32; what attention or the hidden layer holds; what
    # sets of keys give, and what is joined of them.
    driven = 8 * width if sizes.kept else 0
    # A number in 8 bits for each of queries, keys and values; scales and sums take a part of one.
    rounded = 3 * width + width // 8 if attention == "8bit" else 0
    attending = (8 + 14) * width + driven + rounded
    hidden = 12 * width + 4 * sizes.hidden + 2 * width
    # Sent to the other ranks: queries, keys, values and results.
    messages = 8 * width * (ranks - 1) // ranks
    block_constants = 2 * 770 * width * 2
    constants = branches * len(sizes.blocks) * block_constants
    if not by_frames:
        return own * (max(attending, hidden) + messages) + constants
    # A frame's, by plain PyTorch in fp32.
    frame = -(-tokens // (frames // 4 + 2)) * (28 * width + 6 * sizes.hidden)
    # The residual stream, keys and values stay whole, and rotary positions.
    stream = 8 * width + ROTARY
    if ranks == 1 and not driven:
        # Of queries that come by frames, no more than a frame is rounded.
        return own * (stream + max(rounded - width, 0)) + frame + block_constants
    # All queries attend together. Ranks send them with keys and values, as much arrives, and the
    # first half is attended to while the second is on its way.
    together = 12 * width if ranks > 1 else 2 * width
    if driven:
        # What three sets of keys give, what is joined of them, and 2 * width to spare; with ranks
        # for half of the heads or some more, beside what is on its way. The condition's tokens.
        joining = 10 * width if ranks == 1 else 14 * width
        together = max(together, joining) + 4 * width
    tokens_held = own * (stream + 2 * width) + max(own * (together + rounded), frame)
    return tokens_held + (constants if driven else block_constants)


def vae_work(pixels: int, frames: int, ranks: int, vae: str, in_bands: bool = False) -> int:
    """Return the bytes of the VAE's activations on each rank; see `plan_memory`."""
    decoding = pixels * (VAE_WORK[vae] // ranks + VAE_FRAME * frames)
    # Each of two ranks encodes a whole video.
    whole = pixels * (VAE_WORK[vae] + ENCODED_FRAME[vae] * frames)
    encoding = whole if ranks == 2 else 0
    if in_bands and ranks <= 2:
        # Bands lie across the longer side: the shorter is no longer than the root.
        side, band = math.isqrt(pixels) + 1, pixels // BANDS
        held = pixels * frames * (ENCODED_FRAME[vae] + DEEP_FRAME[vae])
        encoding = held + ENCODED_BAND[vae] * min(pixels, band + ENCODED_HALO * side)
        if ranks == 1:
            decoding = held + DECODED_BAND[vae] * min(pixels, band + DECODED_HALO * side)
            decoding = max(decoding, pixels * frames * JOINED_FRAME)
    return max(decoding, encoding)
