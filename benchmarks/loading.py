"""How long a job waits for its transformer: files cold and in memory, original and prepared copies.

PYTHONPATH=workflow/scripts [torchrun --standalone --nproc_per_node=2] benchmarks/loading.py MODEL

MODEL is a folder on the disk to measure, of random_model.py or a real one; the copies are made in
it. With `--copies`, the original is left out: `--copies --precision bf16 fp8` compares both copies.
"""

import argparse
import gc
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import FULL, TINY, forget, make_step, random_inputs, set_environment, timed

from animate.devices.machine import Machine, choose_device, machine_of
from animate.devices.world import World, join_world
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload
from animate.weights.prepare import prepare
from animate.weights.prepared import TRANSFORMER, transformer_folder
from animate.weights.storage.reading import read_tensors
from animate.weights.storage.stored import stored_tensors


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


def rounded(machine: Machine, precision: str) -> str | None:
    """Return what a job rounds weights to, as `transformer_folder` takes it."""
    return precision if machine.dtype == torch.bfloat16 else None


def read_alone(folder: Path, machine: Machine) -> None:
    """Read and transfer this rank's part of the tensors, and let them go."""
    world = machine.world
    own = list(stored_tensors(folder).values())[world.rank :: world.size]
    for _ in read_tensors(own, machine.device):
        pass


def measure(model: Path, machine: Machine, precision: str, clock: Clock) -> None:
    """Print how long reading, loading and the first steps take."""
    device, world = machine.device, machine.world
    video = FULL if device.type == "cuda" else TINY
    folder = transformer_folder(model, rounded(machine, precision))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    workload = Workload(video.width, video.height, video.frames, precision=precision)
    inputs = random_inputs(model, video, device)

    @torch.inference_mode()
    def loaded():
        where = machine.dtype, device, [], world
        return build_transformer(model, *where, workload, clock.say).model

    clock.say(f"{folder}, {size / 1e9:.1f} GB")
    for state in ("cold", "in memory"):
        reading = partial(read_alone, folder, machine)
        for what, call in (("read", reading), ("load", loaded)):
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


def main(arguments: argparse.Namespace, machine: Machine) -> None:
    """Measure the original, then the copy for each precision, if there is one."""
    world, model = machine.world, arguments.model
    clock = Clock(world)
    if not arguments.copies:
        measure(model, machine, arguments.precision[0], clock)
    for precision in arguments.precision:
        started = time.perf_counter()
        done = world.share(prepare(model, precision) if world.leads else None)
        clock.say(f"prepared in {time.perf_counter() - started:.0f} s: {done}")
        if transformer_folder(model, rounded(machine, precision)) != model / TRANSFORMER:
            measure(model, machine, precision, clock)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", nargs="+", choices=("bf16", "fp8"), default=["bf16"])
    parser.add_argument("--copies", action="store_true", help="measure prepared copies alone")
    given = parser.parse_args()
    set_environment(given.model, int(os.environ.get("WORLD_SIZE", 1)))
    device_type = choose_device("auto", given.model)
    with join_world(device_type) as joined:
        main(given, machine_of(joined, device_type))
