"""How long a job waits for its transformer: files cold and in memory, original and prepared copy.

PYTHONPATH=workflow/scripts [torchrun --standalone --nproc_per_node=2] benchmarks/loading.py MODEL

MODEL is a folder on the disk to measure. Without a transformer in it, one with random weights is
written there: of full size on a GPU (69 GB in fp32; see --layers), tiny on a CPU.
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from diffusers import WanAnimateTransformer3DModel
from measure import FULL, Video, make_step, random_inputs, timed

from animate.model.prepare import prepare, write_tensors
from animate.model.prepared import transformer_folder
from animate.model.reading import read_tensors
from animate.model.stored import stored_tensors
from animate.model.tiny import TRANSFORMER
from animate.parallel.sampler import Load, load_sampler
from animate.parallel.world import World, join_world

SMALL, LARGE = Video(64, 64, 13), Video(1280, 720, 77)
SHARD_TENSORS, WRITERS = 16, 8


class Clock:
    """Prints, on rank 0, what the slowest rank took."""

    def __init__(self, world: World):
        self._world = world

    def time(self, what: str, call: Callable, size: int | None = None):
        """Return the call's result; with `size`, in bytes, its rate is printed, too."""
        self._world.gather(None)
        started = time.perf_counter()
        result = call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = max(self._world.gather(time.perf_counter() - started))
        rate = f"{size / seconds / 1e9:7.2f} GB/s" if size else ""
        self.say(f"{what:44} {seconds:8.2f} s {rate}")
        return result

    def say(self, line: str) -> None:
        """Print a line on rank 0."""
        if self._world.leads:
            print(line, flush=True)


def write_checkpoint(folder: Path, config: dict, dtype: torch.dtype, device: torch.device) -> None:
    """Write a transformer with random numbers of bf16, stored as `dtype`."""
    with torch.device("meta"):
        model = WanAnimateTransformer3DModel(**config)
    folder.mkdir(parents=True)
    shapes = [(name, parameter.shape) for name, parameter in model.named_parameters()]

    def write(number: int) -> None:
        tensors = {}
        for name, shape in shapes[number : number + SHARD_TENSORS]:
            noise = torch.randn(shape, device=device) / max(1, shape[1:].numel()) ** 0.5
            tensors[name] = noise.bfloat16().to(dtype).cpu()
        write_tensors(folder / f"diffusion_pytorch_model-{number:05d}.safetensors", tensors)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(0, len(shapes), SHARD_TENSORS)))
    model.save_config(folder)


def forget(folder: Path) -> None:
    """Take a folder's files out of the page cache."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_alone(folder: Path, device: torch.device, world: World) -> None:
    """Read and transfer this rank's part of the tensors, and let them go."""
    for _ in read_tensors(list(stored_tensors(folder).values())[world.rank :: world.size], device):
        pass


def measure(
    model: Path, video: Video, world: World, device: torch.device, precision: str, clock: Clock
) -> None:
    """Print how long reading, loading and the first steps take."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    folder = transformer_folder(model, exact=dtype != torch.bfloat16)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    load = Load(video.width, video.height, video.frames, precision=precision)
    inputs = random_inputs(video, device.type == "cpu", device)

    @torch.inference_mode()
    def loaded():
        return load_sampler(model, dtype, device, [], world, load, clock.say).model

    clock.say(f"{folder}, {size / 1e9:.1f} GB")
    for state in ("cold", "in memory"):
        for what, call in (("read", lambda: read_alone(folder, device, world)), ("load", loaded)):
            if state == "cold" and world.local_rank == 0:
                forget(folder)
            result = clock.time(f"  {what}, files {state}", call, size)
        torch.compiler.reset()
        step = make_step(result, inputs)
        for what in ("first step, compilation included", "next step"):
            clock.time(f"  {what}", partial(timed, step, 0))
        del result, step
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def main(arguments: argparse.Namespace, world: World) -> None:
    """Measure the original, prepare it, and measure the copy if there is one."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", world.local_rank) if cuda else torch.device("cpu")
    clock, model = Clock(world), arguments.model
    # Code is compiled at first and found in the cache afterwards.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(model / ".compiled"))
    config = FULL | {"num_layers": arguments.layers}
    if not cuda:
        config = TRANSFORMER | {"motion_encoder_size": 32}
    original = model / "transformer"
    if world.leads and not original.is_dir():
        stored = {"fp32": torch.float32, "bf16": torch.bfloat16}[arguments.stored]
        started = time.perf_counter()
        write_checkpoint(original, config, stored, device)
        clock.say(f"written in {time.perf_counter() - started:.0f} s: {json.dumps(config)}")
    world.gather(None)
    video = LARGE if cuda else SMALL
    measure(model, video, world, device, arguments.precision, clock)
    started = time.perf_counter()
    done = world.share(prepare(model) if world.leads else None)
    clock.say(f"prepared in {time.perf_counter() - started:.0f} s: {done}")
    if transformer_folder(model, exact=not cuda) != original:
        measure(model, video, world, device, arguments.precision, clock)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--layers", type=int, default=40, help="of a model to write: 5, 10, ...")
    parser.add_argument("--stored", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    with join_world("cuda" if torch.cuda.is_available() else "cpu") as joined:
        main(parser.parse_args(), joined)
