"""Time the sampler's forward and VAE on several GPUs beside one, in one run.

    PYTHONPATH=workflow/scripts torchrun --standalone --nproc_per_node=2 benchmarks/several_gpus.py

Weights are random. Without a GPU, or with --tiny, everything is tiny.
"""

import argparse
import gc
import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from animate.parallel.exchange import Exchange, Messages, choose_exchange
from diffusers import WanAnimateTransformer3DModel
from measure import (
    GIB,
    Timing,
    Video,
    difference,
    make_step,
    print_reserved,
    random_inputs,
    random_painting,
    random_transformer,
    random_vae,
    timed,
)
from one_gpu import Table, profile

from animate.model.checkpoint import FP32_PARTS, assign, restore_constants
from animate.model.sequence import Attention, WholeSequence, attention
from animate.model.transformer import SamplingTransformer
from animate.parallel.attention import choose_attention
from animate.parallel.compile import compile_blocks
from animate.parallel.sharding import Sharded
from animate.parallel.ulysses import UlyssesSequence
from animate.parallel.vae_split import SplitCodec
from animate.parallel.world import World, join_world

# The last is the one that FSDP2 and a whole segment are timed with.
SIZES = (Video(832, 464, 77), Video(960, 720, 77), Video(1280, 720, 77))
# Tokens: 80, 75 and 105.
TINY_SIZES = (Video(64, 64, 13), Video(48, 80, 13), Video(48, 112, 13))
STEPS = 20
PLACEMENTS = ("replicated", "1 GPU", "FSDP2")
PARTS = ("agreement", "replicated", "1GPU", "FSDP2", "vae")


class FirstRank(Table):
    """A table that rank 0 prints."""

    def add(self, name: str, timing, error: float | None = None) -> None:
        """Record a timing on rank 0."""
        if not dist.get_rank():
            super().add(name, timing, error)


def sharded(weights: WanAnimateTransformer3DModel, sequence, device: torch.device):
    """Return the model with each block's weights divided among the ranks."""
    with torch.device("meta"):
        empty = WanAnimateTransformer3DModel.from_config(weights.config)
    for name, parameter in list(empty.named_parameters()):
        kept = torch.float32 if FP32_PARTS.search(name) else weights.patch_embedding.weight.dtype
        assign(empty, name, torch.empty_like(parameter, dtype=kept))
    empty.eval().requires_grad_(False)
    model = SamplingTransformer(empty, sequence)
    store = Sharded(empty, model, device)
    for name, parameter in weights.named_parameters():
        store.put(name, parameter.data[store.rows(name, parameter.shape)].clone())
    restore_constants(empty, device)
    return model


def placed(placement: str, video: Video, weights, exchange: Exchange) -> SamplingTransformer:
    """Return the compiled model on one GPU, or on all with its weights replicated or sharded."""
    device = weights.device
    attend = choose_attention(device, 128)[1]
    if placement == "1 GPU":
        model = SamplingTransformer(weights, WholeSequence(attend))
    elif placement == "replicated":
        model = SamplingTransformer(weights, ulysses(video, weights, attend, exchange))
    else:
        model = sharded(weights, ulysses(video, weights, attend, exchange), device)
        # Someone may still refer to the whole weights.
        for parameter in weights.parameters():
            parameter.data = parameter.data.new_empty(0)
        gc.collect()
    if device.type == "cuda":
        compile_blocks(model)
    return model


def steps(
    table: Table,
    placement: str,
    video: Video,
    tiny: bool,
    world: World,
    weights,
    connect: Callable[[], Exchange],
    count: int,
) -> None:
    """Time a step, its difference from one GPU's uncompiled step, and a segment of `count`."""
    device = weights.device
    inputs = random_inputs(video, tiny, device)
    plain = SamplingTransformer(weights, WholeSequence(choose_attention(device, 128)[1]))
    expected = timed(make_step(plain, inputs), 0)[1]
    del plain
    exchange = connect()
    model = placed(placement, video, weights, exchange)
    size = f"{video.width}x{video.height}"
    timing, result = timed(make_step(model, inputs))
    table.add(f"step, {placement}, {size}", timing, difference(result, expected))
    if placement == "1 GPU":
        print_ranks(timing, world)
    else:
        print_peak(timing, exchange, world)
    if placement != "1 GPU" and video in (SIZES[-1], TINY_SIZES[-1]):
        profile_first(model, inputs, world)
        # The sampler holds a segment's inputs on the CPU.
        del inputs, result, expected
        print_peak(segment(table, placement, model, video, tiny, world, count), exchange, world)


def ulysses(video: Video, weights, attend: Attention, exchange: Exchange) -> UlyssesSequence:
    """Return the division of a video's tokens among all ranks."""
    heads = weights.config.num_attention_heads
    return UlyssesSequence(heads, attend, exchange=exchange)


def agreement(
    table: Table, world: World, device: torch.device, connect: Callable[[], Exchange]
) -> None:
    """Print how far all ranks' step and frames are from one GPU's, on the tiny model."""
    # The fastest kernels do not take the tiny model's small heads.
    attend = attention
    weights, vae = random_transformer(True, device), random_vae(True, device)
    for video in TINY_SIZES:
        inputs = random_inputs(video, True, device)
        results, frames = [], []
        for ranks in (1, world.size):
            whole = WholeSequence(attend)
            shared = ulysses(video, weights, attend, connect()) if ranks > 1 else whole
            model = SamplingTransformer(weights, shared)
            results.append(timed(make_step(model, inputs), 0)[1])
            paint = random_painting(model, SplitCodec(vae, ranks), video, 4, True)
            timing, painted = timed(paint, 0)
            frames.append(painted)
        name = f"tiny, {video.width}x{video.height}, {video.tokens} tokens"
        table.add(f"{name}, frames", timing, difference(frames[1], frames[0]))
        pixels = (frames[1] - frames[0]).abs().max() * 127.5
        if world.leads:
            print(f"    step {difference(results[1], results[0]):.6f}, pixels {pixels:.2f} of 255")
        for kind in (torch.bfloat16, torch.float32):
            codec_agreement(video, kind, world, device)


def codec_agreement(video: Video, kind: torch.dtype, world: World, device: torch.device) -> None:
    """Print how far one codec, split over the ranks or not, is from itself and from fp32."""
    t, h, w = video.latent_shape
    generator = torch.Generator(device).manual_seed(0)
    latents = torch.randn(1, 16, t - 1, h, w, device=device, generator=generator)
    frames = torch.rand(
        1, 3, video.frames, video.height, video.width, device=device, generator=generator
    )
    exact = SplitCodec(random_vae(True, device).float())
    vae = random_vae(True, device).to(kind)
    whole, split = SplitCodec(vae), SplitCodec(vae, world.size)
    for name, given in (("encode", frames * 2 - 1), ("decode", latents)):
        right, one, all_ranks = (getattr(c, name)(given) for c in (exact, whole, split))
        errors = ((all_ranks, one), (one, right), (all_ranks, right))
        errors = " ".join(f"{difference(*pair):.6f}" for pair in errors)
        if world.leads:
            print(f"    {name}, {kind}: split from whole, whole and split from fp32: {errors}")


def segment(
    table: Table, name: str, model, video: Video, tiny: bool, world: World, steps: int
) -> Timing:
    """Time a whole segment: encoded, denoised, decoded."""
    device = model.device
    codec = SplitCodec(random_vae(tiny, device), world.size, compiled=device.type == "cuda")
    # The first compiles and warms up.
    timed(random_painting(model, codec, video, 1, tiny), 0)
    timing = timed(random_painting(model, codec, video, steps, tiny), 0)[0]
    table.add(f"segment of {steps} steps, {name}", timing)
    if world.leads:
        print_reserved(device)
    return timing


def print_ranks(timing: Timing, world: World) -> None:
    """Print what each GPU took alone: together they go as fast as the slowest."""
    seconds = [0.0] * world.size
    dist.all_gather_object(seconds, timing.median)
    if world.leads:
        print("    each GPU alone:", *(f"{alone:.3f} s" for alone in seconds), flush=True)


def print_peak(timing: Timing, exchange: Exchange, world: World) -> None:
    """Print rank 0's peak, the outboxes, which PyTorch does not count, included."""
    if world.leads:
        peak = (timing.peak * GIB + exchange.held) / 1e9
        print(f"    peak {peak:.3f} GB, outboxes {exchange.held / 1e9:.3f} of them", flush=True)


def codecs(table: Table, video: Video, tiny: bool, world: World, device: torch.device) -> None:
    """Time the VAE on one GPU and split over all."""
    torch.backends.cudnn.benchmark = True
    t, h, w = video.latent_shape
    generator = torch.Generator(device).manual_seed(0)
    frames = torch.rand(
        1, 3, video.frames, video.height, video.width, device=device, generator=generator
    )
    latents = torch.randn(1, 16, t - 1, h, w, device=device, generator=generator)
    expected = {}
    for ranks in (1, world.size):
        codec = SplitCodec(random_vae(tiny, device), ranks, compiled=device.type == "cuda")
        for name, call, given in (
            ("encode", codec.encode, frames * 2 - 1),
            ("decode", codec.decode, latents),
        ):
            timing, result = timed(lambda: call(given))  # noqa: B023
            before = expected.setdefault(name, result)
            table.add(f"{name}, {ranks} GPU", timing, difference(result, before))


def main(arguments: argparse.Namespace, world: World) -> None:
    """Run the parts asked for on the ranks of this process group."""
    device = torch.device("cuda", world.local_rank) if torch.cuda.is_available() else None
    device = device or torch.device("cpu")
    tiny = arguments.tiny or device.type == "cpu"
    table = FirstRank()
    torch.manual_seed(0)
    if world.leads:
        print(f"attention: {choose_attention(device, 128)[0]}", flush=True)

    def connect() -> Exchange:
        name, exchange = ("messages", Messages()) if arguments.messages else choose_exchange(device)
        if world.leads:
            print(f"    exchange by {name}", flush=True)
        return exchange

    if "agreement" in arguments.parts:
        agreement(table, world, device, connect)
    sizes = TINY_SIZES if tiny else SIZES
    weights = None
    for placement in PLACEMENTS:
        # FSDP2, the last, takes the weights apart.
        for video in sizes[-1:] if placement == "FSDP2" else [sizes[n] for n in arguments.sizes]:
            if placement.replace(" ", "") in arguments.parts:
                weights = weights or random_transformer(tiny, device)
                steps(table, placement, video, tiny, world, weights, connect, arguments.steps)
    del weights
    if "vae" in arguments.parts:
        codecs(table, sizes[-1], tiny, world, device)


def profile_first(model: SamplingTransformer, inputs: dict, world: World) -> None:
    """Print the profile of a step on rank 0."""
    if world.leads:
        profile(make_step(model, inputs))
    else:
        one_step(model, inputs)


@torch.inference_mode()
def one_step(model: SamplingTransformer, inputs: dict[str, torch.Tensor]) -> None:
    """Run the step that rank 0 profiles."""
    make_step(model, inputs)()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--sizes", nargs="+", type=int, default=(0, 1, 2), choices=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=STEPS, help="of a whole segment")
    parser.add_argument("--messages", action="store_true", help="no direct copies")
    arguments = parser.parse_args()
    os.environ.setdefault("WORLD_SIZE", "1")
    with join_world() as joined:
        main(arguments, joined)
