"""What one GPU or several compute: run by torchrun, each check prints or raises.

gpu_ranks.py FOLDER CHECK..., the folder as `write_model` and `write_clips` left it.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import WanAnimateTransformer3DModel

import ranks
from animate.config.job import read_job
from animate.demo.model import TRANSFORMER, randomise
from animate.devices.machine import machine_of
from animate.devices.world import ALONE, World, join_world
from animate.kernels.attention import choose_partial_attention
from animate.kernels.attention8.choose import KERNELS8, choose_attention8
from animate.kernels.compile import missing_for_compiling
from animate.kernels.fp8 import convert_to_fp8
from animate.kernels.merge import compiled_merge
from animate.model.animate2.driving import ResidentDriving
from animate.model.animate2.transformer import DrivenTransformer
from animate.model.transformer import SamplingTransformer
from animate.model.vae import as_pixels, in_range
from animate.parallel import build
from animate.parallel.build import build_transformer
from animate.parallel.driving import StreamedMemory
from animate.parallel.plan import Workload, model_sizes, plan_memory
from animate.parallel.ulysses import UlyssesSharding
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.weights.checkpoint import empty_transformer
from driven_models import tiny_inputs, tiny_weights, velocities
from golden_model import relative_error
from gpu_attention8 import check_kernel
from sampler_clip import result_frames, write_clip, write_model

# The heads are as large as the published model's: the fast kernels take no others.
MODEL = TRANSFORMER | {
    "num_attention_heads": 8,
    "attention_head_dim": 128,
    "added_kv_proj_dim": 1024,
    "ffn_dim": 2048,
    "num_layers": 10,
    "motion_encoder_size": 32,
}
GRID, FRAMES = (5, 6, 7), 13
LOG_SCALE = -1.3
SEGMENT = Workload(16 * GRID[2], 16 * GRID[1], FRAMES)
# Against fp32 on the CPU: what bf16 and fp8 round, in a model of random weights.
FROM_FP32 = {"bf16": 0.03, "fp8": 0.10}
# Between placements, and between compiled blocks and plain ones: fp8 rounds what differs in a bit.
SAME, COMPILED = 5e-3, {"bf16": 1e-2, "fp8": 4e-2}
# What 8-bit attention may change.
FROM_EXACT = 0.06
CLIPS = {
    "animate": {"mode": "animate"},
    "replace": {
        "mode": "replace",
        "guidance_scale": 2.0,
        "conditioning_frames": 5,
        "vae_precision": "fp32",
    },
}
# Mean difference of the frames of 0..255, sampled in bf16 on GPUs and in fp32 on the CPU: of random
# weights 4 were measured on an H200.
PIXELS = 8.0


def check_placements(world: World, device: torch.device, folder: Path) -> None:
    """Every placement, in bf16 and fp8, gives what the weights whole on one GPU give."""
    cpu = torch.device("cpu")
    exact = velocity(build_transformer(folder, torch.float32, cpu, [], ALONE, SEGMENT).model)
    for precision, tolerance in FROM_FP32.items():
        one = loaded(folder, device, ALONE, precision, None)
        assert relative_error(one, exact) < tolerance, (precision, relative_error(one, exact))
        for placement in placements(world):
            error = relative_error(loaded(folder, device, world, precision, placement), one)
            assert error < SAME, (precision, placement, error)
            parts = loaded(folder, device, world, precision, placement, by_frames=True)
            # Products of other shapes round in other bits.
            error = relative_error(parts, one)
            assert error < COMPILED[precision], (precision, placement, "by frames", error)


def check_compiling(world: World, device: torch.device, folder: Path) -> None:
    """Compiled blocks with our kernels give what uncompiled ones give."""
    assert missing_for_compiling() is None
    for precision in FROM_FP32:
        results = [loaded(folder, device, world, precision, None, way) for way in ("on", "off")]
        error = relative_error(*results)
        assert error < COMPILED[precision], (precision, error)


def check_pixels(world: World, device: torch.device, folder: Path) -> None:
    """Every pixel has the same number on the GPU as on the CPU, and the way back, too."""
    pixels = torch.arange(256, dtype=torch.uint8)
    values = in_range(pixels.to(device))
    assert torch.equal(values.cpu(), in_range(pixels))
    assert torch.equal(as_pixels(values).cpu(), pixels)


def check_clips(world: World, device: torch.device, folder: Path) -> None:
    """Whole clips on these ranks have the CPU's frames, but for what bf16 rounds."""
    for clip in CLIPS:
        path = folder / clip / "settings.json"
        run_job(read_job(path), machine_of(world, "cuda"), Progress(clip, quiet=not world.leads))
        if world.leads:
            record = json.loads((path.parent / "sampling.json").read_text())
            made_by = record["segments"][0]["made_by"]
            assert made_by["ranks"] == world.size and made_by["gpu"], made_by
            expected = np.load(path.parent / "expected.npy")
            difference = np.abs(result_frames(path).astype(int) - expected).mean()
            print(f"{clip}: frames {difference:.2f} of 255 from the CPU's", flush=True)
            assert difference < PIXELS


def placements(world: World) -> list[str]:
    """Return the names of the placements of that many ranks."""
    return ["replicated", "offload"] + (["fsdp2"] if world.size > 1 else [])


def loaded(
    folder: Path,
    device: torch.device,
    world: World,
    precision: str,
    placement: str | None,
    compiling: str = "auto",
    attention: str = "exact",
    by_frames: bool = False,
) -> torch.Tensor:
    """Return the velocity of the sampler as it is loaded for a clip, with that placement."""
    workload = replace(SEGMENT, precision=precision, attention=attention)
    whole = build.free_memory
    if placement:
        memory = memory_for(placement, folder, precision, world, attention)
        build.free_memory = lambda device: memory
    said = []
    where = torch.bfloat16, device, [], world
    model = build_transformer(folder, *where, workload, said.append, compiling).model
    build.free_memory = whole
    if placement:
        assert any(f"weights {placement}" in line for line in said), said
    if by_frames:
        model.compute_by_frames()
    return velocity(model)


def memory_for(
    placement: str, folder: Path, precision: str, world: World, attention: str = "exact"
) -> int:
    """Return the bytes of a GPU on which the plan takes that placement."""
    weights = empty_transformer(folder / "transformer", torch.bfloat16)
    if precision == "fp8":
        convert_to_fp8(weights, fused=False)
    model = SamplingTransformer(weights)
    segment = SEGMENT.tokens, SEGMENT.width * SEGMENT.height, SEGMENT.frames
    memory = None
    while True:
        sizes = model_sizes(model)
        plan = plan_memory(sizes, *segment, memory, world.size, attention=attention)
        if (plan.placement, plan.by_frames) == (placement, False):
            return plan.peak
        memory = plan.peak - 1


@torch.inference_mode()
def velocity(model: SamplingTransformer) -> torch.Tensor:
    """Return the output for random conditions."""
    given = {name: x.to(model.device) for name, x in ranks.inputs(GRID).items()}
    t, h, w = GRID
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(1, 16, t, 2 * h, 2 * w, generator=generator).to(model.device)
    constants = model.segment_constants(**given)
    return model(latents, model.time_embedding(torch.tensor([700.0])), constants).float().cpu()


def write_inputs(folder: Path) -> None:
    """Write the model that the checks read, and clips with the frames that the CPU samples."""
    write_model(folder)
    (folder / "relighting_lora.ckpt").unlink()
    for old in (folder / "transformer").iterdir():
        old.unlink()
    model = WanAnimateTransformer3DModel(**MODEL)
    randomise(model, 0)
    model.save_pretrained(folder / "transformer")
    for clip, settings in CLIPS.items():
        shape = {"size": (112, 96), "segment_frames": FRAMES, "steps": 4}
        path = write_clip(folder / clip, folder, 20, **shape, **settings)
        job = read_job(path)
        run_job(job, machine_of(ALONE, "cpu"), Progress(clip, quiet=True))
        np.save(path.parent / "expected.npy", result_frames(path))
        for made in (job.output, job.record):
            made.unlink()
        # Renamed, so that the GPU finds nothing finished.
        job.journal.rename(job.journal.with_name("of the CPU"))


def check_driven(world: World, device: torch.device, folder: Path) -> None:
    """Wan-Animate-2 gives in bf16 what it gives in fp32 on the CPU, its keys here or streamed."""
    weights, given = tiny_weights(dim=1024, num_heads=8, ffn_dim=2048), tiny_inputs(GRID)
    exact = velocities(DrivenTransformer(weights), given, LOG_SCALE)
    weights = weights.to(device, torch.bfloat16)
    given = {name: tensor.to(device) for name, tensor in given.items()}
    kernel, attend = choose_partial_attention(device, 128, world)
    assert kernel != "plain"
    streamed = StreamedMemory()
    for memory in (ResidentDriving, streamed, streamed):
        sharding = UlyssesSharding(8) if world.size > 1 else None
        model = DrivenTransformer(weights, sharding, None, memory)
        model.attend_by(attend, compiled_merge())
        made = velocities(model, given, LOG_SCALE)
        for found, expected in zip(made, exact, strict=True):
            error = relative_error(found.float().cpu(), expected)
            assert error < FROM_FP32["bf16"], (kernel, memory, error)


def check_attention8(world: World, device: torch.device, folder: Path) -> None:
    """8-bit attention is right at any length, and the same wherever the weights are."""
    kernels = KERNELS8[torch.cuda.get_device_capability(device)]
    for name, build_kernel in kernels.items():
        check_kernel(name, build_kernel(), device)
    assert choose_attention8(device, world)[0] == next(iter(kernels))
    # Every placement gives the same bits, and all of them nearly what is exact.
    for precision in FROM_FP32:
        exact = loaded(folder, device, world, precision, "replicated")
        one = loaded(folder, device, world, precision, "replicated", attention="8bit")
        assert 1e-4 < relative_error(one, exact) < FROM_EXACT, relative_error(one, exact)
        for placement in placements(world)[1:]:
            found = loaded(folder, device, world, precision, placement, attention="8bit")
            assert torch.equal(found, one), (precision, placement, relative_error(found, one))
        ways = {"attention": "8bit", "by_frames": True}
        found = loaded(folder, device, world, precision, "replicated", **ways)
        assert relative_error(found, one) < FROM_EXACT, relative_error(found, one)


def check_driven8(world: World, device: torch.device, folder: Path) -> None:
    """Wan-Animate-2 in 8 bits, whose results over sets of keys are merged, is near the exact."""
    weights, given = tiny_weights(dim=1024, num_heads=8, ffn_dim=2048), tiny_inputs(GRID)
    exact = velocities(DrivenTransformer(weights), given, LOG_SCALE)
    _, attend = choose_attention8(device, world)
    sharding = UlyssesSharding(8) if world.size > 1 else None
    model = DrivenTransformer(weights.to(device, torch.bfloat16), sharding)
    model.attend_by(attend.partial)
    here = {name: tensor.to(device) for name, tensor in given.items()}
    for found, expected in zip(velocities(model, here, LOG_SCALE), exact, strict=True):
        error = relative_error(found.float().cpu(), expected)
        assert error < FROM_EXACT, error


CHECKS = {
    "attention8": check_attention8,
    "driven8": check_driven8,
    "driven": check_driven,
    "placements": check_placements,
    "compiling": check_compiling,
    "pixels": check_pixels,
    "clips": check_clips,
}

if __name__ == "__main__":
    with join_world("cuda") as joined:
        for check in sys.argv[2:]:
            gpu = torch.device("cuda", joined.local_rank)
            CHECKS[check](joined, gpu, Path(sys.argv[1]))
            if joined.leads:
                print(f"{check} passed on {joined.size} GPUs", flush=True)
