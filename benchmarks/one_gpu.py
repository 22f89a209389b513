"""Time a denoising step and the VAE beside diffusers' own forward, in one run.

    PYTHONPATH=workflow/scripts python benchmarks/one_gpu.py [--tiny] [--output table.json]

Weights are random. Without a GPU, or with --tiny, everything is tiny.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path

import torch
from measure import (
    Video,
    difference,
    diffusers_step,
    make_step,
    random_inputs,
    random_transformer,
    random_vae,
    timed,
)
from torch.nn.attention import SDPBackend, sdpa_kernel

from animate.model.sequence import WholeSequence
from animate.model.transformer import SamplingTransformer
from animate.model.vae import WanCodec
from animate.parallel import attention, vae_split
from animate.parallel.compile import compile_blocks
from animate.parallel.fp8 import use_fp8
from animate.parallel.offload import Offloaded
from animate.parallel.sampler import Load, load_sampler
from animate.parallel.vae_split import SplitCodec
from animate.parallel.world import ALONE

TINY, FULL = Video(32, 32, 13), Video(1280, 720, 77)
PARTS = ("vae", "steps", "fp8", "offload", "load")


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


def kernels(device: torch.device) -> dict:
    """Return the attention kernels that run here, the chosen one last."""
    chosen, attend = attention.choose_attention(device)
    print(f"attention: {chosen}", flush=True)
    found = {chosen: attend}
    if device.type == "cuda" and chosen != "cuDNN":
        found = {"cuDNN": attention.KERNELS["cuDNN"](), chosen: attend}
    return found


def steps(table: Table, video: Video, tiny: bool, device: torch.device, parts: list[str]) -> None:
    """Time the forward: diffusers', ours with each kernel, in fp8, and offloaded."""
    weights, inputs = random_transformer(tiny, device), random_inputs(video, tiny, device)
    cudnn = sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if device.type == "cuda" else nullcontext()
    with cudnn:
        timing, expected = timed(diffusers_step(weights, inputs), 1)
    table.add("step, diffusers, cuDNN", timing)
    for name, attend in kernels(device).items():
        model = SamplingTransformer(weights, WholeSequence(attend))
        if name == "cuDNN":
            timing, exact = timed(make_step(model, inputs), 1)
            table.add("step, ours, eager, cuDNN", timing, difference(exact, expected))
        compile_blocks(model)
        timing, result = timed(make_step(model, inputs))
        table.add(f"step, ours, compiled, {name}", timing, difference(result, expected))
    profile(make_step(model, inputs))
    if "fp8" in parts:
        model = SamplingTransformer(weights, WholeSequence(attend))
        use_fp8(model)
        compile_blocks(model)
        timing, rounded = timed(make_step(model, inputs))
        table.add(f"step, ours, fp8, {name}", timing, difference(rounded, result))
        profile(make_step(model, inputs))


def offloaded(table: Table, video: Video, tiny: bool, device: torch.device) -> None:
    """Time the forward with the blocks in host memory."""
    weights, inputs = random_transformer(tiny, device), random_inputs(video, tiny, device)
    kernel, attend = attention.choose_attention(device)
    _, expected = timed(make_step(SamplingTransformer(weights, WholeSequence(attend)), inputs), 0)
    model = SamplingTransformer(weights, WholeSequence(attend))
    originals = dict(weights.named_parameters())
    store = Offloaded(weights, model, device)
    for name in list(originals):
        store.put(name, originals.pop(name).data)
    model.scale_shift_table = weights.scale_shift_table
    compile_blocks(model)
    store.attach(model)
    timing, result = timed(make_step(model, inputs))
    table.add(f"step, ours, offloaded, {kernel}", timing, difference(result, expected))


def loaded(table: Table, video: Video, tiny: bool, device: torch.device) -> None:
    """Time a cold load: files read alone, weights on the device, the first step and a later one."""
    inputs = random_inputs(video, tiny, device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_transformer(tiny, device).save_pretrained(folder, max_shard_size="5GB")
        torch.cuda.empty_cache()
        table.add("read the files alone", timed(lambda: _read(folder), 0)[0])
        _forget_files()
        load = Load(video.width, video.height, video.frames)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

        def call():
            return load_sampler(folder, dtype, device, [], ALONE, load)

        timing, model = timed(call, 0)
        table.add("read and transfer to the device", timing)
        table.add("step after loading", timed(make_step(model, inputs), 1)[0])


def _read(folder: Path) -> torch.Tensor:
    _forget_files()
    buffer = bytearray(1 << 26)
    for path in folder.glob("*.safetensors"):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return torch.zeros(1)


def _forget_files() -> None:
    """Empty the page cache, where that is allowed."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3")


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
    for compiled, piece in ((False, 1), (False, 2), (True, 1), (True, 2), (True, 4)):
        vae_split.PIECE = piece
        codec = SplitCodec(vae, compiled=compiled)
        name = f"{'compiled' if compiled else 'eager'}, piece {piece}"
        timing, result = timed(lambda: codec.encode(frames), 1)  # noqa: B023
        table.add(f"encode, ours, {name}", timing, difference(result, encoded))
        timing, result = timed(lambda: codec.decode(latents), 1)  # noqa: B023
        table.add(f"decode, ours, {name}", timing, difference(result, decoded))
    profile(lambda: codec.decode(latents))


def main(arguments: argparse.Namespace) -> None:
    """Run the parts asked for and write the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny = arguments.tiny or device.type == "cpu"
    video, table = TINY if tiny else FULL, Table()
    if "vae" in arguments.parts:
        codecs(table, video, tiny, device)
    if "steps" in arguments.parts:
        steps(table, video, tiny, device, arguments.parts)
    if "offload" in arguments.parts:
        offloaded(table, video, tiny, device)
    if "load" in arguments.parts:
        loaded(table, video, tiny, device)
    if arguments.output:
        arguments.output.write_text(json.dumps(table.rows, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--parts", nargs="+", default=list(PARTS[:3]), choices=PARTS)
    parser.add_argument("--output", type=Path)
    main(parser.parse_args())
    sys.exit()
