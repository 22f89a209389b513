"""Time a denoising step and the VAE beside diffusers' own forward, in one run.

    PYTHONPATH=workflow/scripts python benchmarks/one_gpu.py [--tiny] [--output table.json]

Weights are random. Without a GPU, or with --tiny, everything is tiny.
"""

import argparse
import copy
import gc
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from measure import (
    Video,
    difference,
    diffusers_step,
    make_step,
    print_reserved,
    random_inputs,
    random_painting,
    random_transformer,
    random_vae,
    timed,
)
from torch.nn.attention import SDPBackend, sdpa_kernel

from animate.model.sequence import Attention, WholeSequence
from animate.model.transformer import SamplingTransformer
from animate.model.vae import WanCodec
from animate.parallel import attention
from animate.parallel.compile import compile_blocks
from animate.parallel.fp8 import quantise_rows, use_fp8
from animate.parallel.offload import Offloaded
from animate.parallel.plan import model_sizes, plan_memory
from animate.parallel.vae_split import SplitCodec

TINY, FULL = Video(32, 32, 13), Video(1280, 720, 77)
PARTS = ("ceilings", "vae", "steps", "fp8", "offload", "segment")


class Table:
    """Measurements, printed as they come."""

    def __init__(self):
        self.rows: list[dict] = []

    def add(self, name: str, timing, error: float | None = None) -> None:
        """Record a timing, and the relative difference from a reference."""
        row = {"what": name, "first": timing.first, "seconds": timing.median, "peak": timing.peak}
        self.rows.append(row | ({} if error is None else {"difference": error}))
        note = "" if error is None else f"  difference {error:.5f}"
        print(
            f"{name:44} {timing.median:8.3f} s  first {timing.first:7.2f} s"
            f"  peak {timing.peak:6.1f} GiB{note}",
            flush=True,
        )


def kernels(device: torch.device) -> dict[str, Attention]:
    """Return the attention kernels to time: cuDNN, then the one that the sampler chooses."""
    if device.type != "cuda":
        return {"plain": attention.attention}
    found = {
        name: attend
        for name, build in attention.KERNELS.items()
        if (attend := attention.working(build, device, 128))
    }
    print("attention kernels:", ", ".join(found), flush=True)
    return {name: found[name] for name in ("cuDNN", next(iter(found))) if name in found}


def ceilings(tiny: bool, device: torch.device) -> None:
    """Print what this device does at best: attention and products of the model's shapes."""
    tokens, heads, hidden = (300, 4, 300) if tiny else (75600, 40, 13824)
    width = heads * 128
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=kind)

    q, k, v = (noise(1, tokens, heads, 128) for _ in range(3))
    for name, attend in kernels(device).items():
        _rate(f"attention, {name}", 4 * tokens**2 * width, lambda: attend(q, k, v))  # noqa: B023
    x, up = noise(tokens, width), noise(hidden, width)
    _rate("bf16 product", 2 * tokens * width * hidden, lambda: F.linear(x, up))
    if device.type == "cuda":
        (a, a_scale), (b, b_scale) = quantise_rows(x), quantise_rows(up)
        scales = {"scale_a": a_scale, "scale_b": b_scale.T.contiguous()}

        def product():
            return torch._scaled_mm(a, b.t(), out_dtype=kind, use_fast_accum=True, **scales)

        _rate("fp8 product", 2 * tokens * width * hidden, product)
    seconds = timed(lambda: x.clone(), 5)[0].median
    print(f"{'copy':44} {2 * x.nbytes / seconds / 1e12:8.2f} TB/s", flush=True)


def _rate(name: str, operations: int, call: Callable[[], torch.Tensor]) -> None:
    seconds = timed(call, 5)[0].median
    print(f"{name:44} {operations / seconds / 1e12:8.0f} TFLOP/s", flush=True)


def steps(table: Table, video: Video, tiny: bool, device: torch.device, parts: list[str]) -> None:
    """Time the forward: diffusers', and ours with each kernel, in bf16 and in fp8."""
    weights, inputs = random_transformer(tiny, device), random_inputs(video, tiny, device)
    found = kernels(device)
    first = next(iter(found))
    if "steps" in parts:
        cudnn = sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if device.type == "cuda" else nullcontext()
        with cudnn:
            timing, expected = timed(diffusers_step(weights, inputs), 1)
        table.add(f"step, diffusers, {first}", timing)
        model = SamplingTransformer(weights, WholeSequence(found[first]))
        timing, exact = timed(make_step(model, inputs), 1)
        table.add(f"step, ours, eager, {first}", timing, difference(exact, expected))
    for name, attend in found.items():
        model = SamplingTransformer(weights, WholeSequence(attend))
        compile_blocks(model)
        timing, result = timed(make_step(model, inputs))
        table.add(f"step, ours, compiled, {name}", timing)
        if "steps" in parts:
            print(f"    {difference(result, expected):.5f} from diffusers")
            print(f"    {difference(result, exact):.5f} from ours, eager")
    profile(make_step(model, inputs))
    if "fp8" not in parts or device.type != "cuda":
        return
    for name, attend in found.items():
        model = SamplingTransformer(weights, WholeSequence(attend))
        use_fp8(model)
        compile_blocks(model)
        timing, rounded = timed(make_step(model, inputs))
        table.add(f"step, ours, fp8, {name}", timing, difference(rounded, result))
    profile(make_step(model, inputs))


def segment(table: Table, video: Video, tiny: bool, device: torch.device) -> None:
    """Measure the whole sampler's peak over a segment of two steps, and what the plan expects."""
    attend = attention.choose_attention(device, 128)[1]
    model = SamplingTransformer(random_transformer(tiny, device), WholeSequence(attend))
    sizes = model_sizes(model)
    if device.type == "cuda":
        compile_blocks(model)
    codec = SplitCodec(random_vae(tiny, device), compiled=device.type == "cuda")
    table.add("segment of 2 steps", timed(random_painting(model, codec, video, 2, tiny), 1)[0])
    pixels = video.width * video.height
    print(f"    planned: {plan_memory(sizes, video.tokens, pixels, video.frames, None, 1)}")
    print_reserved(device)


def offloaded(table: Table, video: Video, tiny: bool, device: torch.device) -> None:
    """Time the forward, and measure a whole segment, with the blocks in host memory."""
    weights, inputs = random_transformer(tiny, device), random_inputs(video, tiny, device)
    kernel, attend = attention.choose_attention(device, 128)
    _, expected = timed(make_step(SamplingTransformer(weights, WholeSequence(attend)), inputs), 0)
    model = SamplingTransformer(weights, WholeSequence(attend))
    originals = dict(weights.named_parameters())
    store = Offloaded(weights, model, device)
    for name in list(originals):
        store.put(name, originals.pop(name).data)
    if device.type == "cuda":
        compile_blocks(model)
    store.attach(model)
    timing, result = timed(make_step(model, inputs))
    table.add(f"step, ours, offloaded, {kernel}", timing, difference(result, expected))
    codec = SplitCodec(random_vae(tiny, device), compiled=device.type == "cuda")
    table.add(
        "segment of 2 steps, offloaded",
        timed(random_painting(model, codec, video, 2, tiny), 1)[0],
    )
    print_reserved(device)


@torch.inference_mode()
def profile(step) -> None:
    """Print the kernels that take most of a step's time on a GPU."""
    if not torch.cuda.is_available():
        step()
        return
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as recorded:
        step()
        torch.cuda.synchronize()
    events = sorted(recorded.key_averages(), key=lambda e: -e.self_device_time_total)
    for event in events[:14]:
        print(f"    {event.self_device_time_total / 1e6:7.3f} s {event.count:5} {event.key[:90]}")
    print(f"    {sum(e.self_device_time_total for e in events) / 1e6:7.3f} s in all", flush=True)


@torch.inference_mode()
def codecs(table: Table, video: Video, tiny: bool, device: torch.device) -> None:
    """Time encode and decode: diffusers' and ours."""
    vae = random_vae(tiny, device)
    t, h, w = video.latent_shape
    frames = torch.rand(1, 3, video.frames, video.height, video.width, device=device) * 2 - 1
    latents = torch.randn(1, 16, t - 1, h, w, device=device)
    reference = WanCodec(vae)
    timing, encoded = timed(lambda: reference.encode(frames), 1)
    table.add("encode, diffusers", timing)
    timing, decoded = timed(lambda: reference.decode(latents), 1)
    table.add("decode, diffusers", timing)
    torch.backends.cudnn.benchmark = True
    codec = SplitCodec(vae, compiled=device.type == "cuda")
    timing, result = timed(lambda: codec.encode(frames), 1)
    table.add("encode, ours", timing, difference(result, encoded))
    timing, result = timed(lambda: codec.decode(latents), 1)
    table.add("decode, ours", timing, difference(result, decoded))
    profile(lambda: codec.decode(latents))
    _rounding(vae, device)


def _rounding(vae: AutoencoderKLWan, device: torch.device) -> None:
    """Print what the VAE's arithmetic changes, of diffusers' forward and of ours."""
    exact = WanCodec(copy.deepcopy(vae).float())
    frames = torch.rand(1, 3, 13, 128, 128, device=device) * 2 - 1
    latents = exact.encode(frames)
    for name, codec in (("diffusers", WanCodec(vae)), ("ours", SplitCodec(vae))):
        encoding = difference(codec.encode(frames), latents)
        decoding = difference(codec.decode(latents), exact.decode(latents))
        print(f"    {name}, {vae.dtype} from fp32: encode {encoding:.5f}, decode {decoding:.5f}")


def main(arguments: argparse.Namespace) -> None:
    """Run the parts asked for and write the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny = arguments.tiny or device.type == "cpu"
    video, table = TINY if tiny else FULL, Table()
    parts = arguments.parts
    if "ceilings" in parts:
        ceilings(tiny, device)
    if "vae" in parts:
        codecs(table, video, tiny, device)
    if "steps" in parts or "fp8" in parts:
        steps(table, video, tiny, device, parts)
    for name, part in (("offload", offloaded), ("segment", segment)):
        if name in parts:
            gc.collect()
            part(table, video, tiny, device)
    if arguments.output:
        arguments.output.write_text(json.dumps(table.rows, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--output", type=Path)
    main(parser.parse_args())
    sys.exit()
