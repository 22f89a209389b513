"""Time what one of several GPUs computes of a step, with no other GPU there.

PYTHONPATH=workflow/scripts:tests python benchmarks/one_rank.py MODEL --ranks 1 2 4 8

The process takes itself for rank 0 of so many. What it would send to the others it copies to where
theirs would arrive, so the numbers are wrong and their number is right. A step of several GPUs
takes this long and what of their exchange attention does not hide. "host" is how long the host
takes to start a step's kernels: where that is less than the step, CUDA graphs would gain nothing.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import AutoencoderKLWan
from measure import TINY, Table, Video, make_step, random_inputs, set_environment, timed
from torch.testing._internal.distributed.fake_pg import FakeStore

from animate.devices.machine import Machine, choose_device, machine_of
from animate.devices.world import ALONE, World
from animate.model.parts import load_part
from animate.parallel import build
from animate.parallel.loading import fill_transformer
from animate.parallel.plan import Workload
from animate.parallel.vae_split import SplitCodec
from steps import SIZES, release

COLUMNS = {"what": 60} | dict.fromkeys(("seconds", "host", "first", "allocated", "of one"), 9)


class Pretended(World):
    """Rank 0 of so many, whose others agree with it."""

    def share(self, value: Any = None) -> Any:
        """Return the value."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return the value for each rank."""
        return [value] * self.size


def pretend(ranks: int) -> World:
    """Return a world of so many ranks, whose messages are copies."""
    if dist.is_initialized():
        dist.destroy_process_group()
    if ranks == 1:
        return ALONE
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    return Pretended(0, ranks)


class Arrived:
    """A message that has arrived."""

    def wait(self) -> None:
        """Return at once."""


def copy_to_all(received: torch.Tensor, sent: torch.Tensor, **options) -> Arrived:
    """Stand in for `dist.all_to_all_single`."""
    received.copy_(sent)
    return Arrived()


def fill_alone(*arguments) -> None:
    """Stand in for `fill_transformer`: this rank reads what the others would read, too."""
    *given, _world, begun = arguments
    fill_transformer(*given, ALONE, begun)


def copy_for_all(parts: list[torch.Tensor], own: torch.Tensor, *options) -> None:
    """Stand in for `dist.all_gather`."""
    for part in parts:
        part.copy_(own)


@torch.inference_mode()
def host_seconds(call) -> float:
    """Return how long a call takes to start its kernels, the GPU idle before."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Rows:
    """The rows of a table, each beside that of one rank."""

    def __init__(self, repeats: int):
        self.table, self._repeats = Table(COLUMNS), repeats
        self._one: dict[str, float] = {}

    def add(self, what: str, ranks: int, call) -> None:
        """Time a call as rank 0 of so many ranks does it."""
        timing, made = timed(call, repeats=self._repeats)
        # What is no number would cost the GPU less power, and so less time.
        assert not torch.is_tensor(made) or made.isfinite().all(), what
        one = self._one.setdefault(what, timing.seconds) if ranks == 1 else self._one.get(what)
        values = {name: getattr(timing, name) for name in ("seconds", "first", "allocated")}
        share = one / (ranks * timing.seconds) if one else None
        self.table.add(
            f"{what}, of {ranks}", **values, host=host_seconds(call), **{"of one": share}
        )


@torch.inference_mode()
def steps(arguments: argparse.Namespace, machine: Machine, sizes: list[Video], rows: Rows) -> None:
    """Time a step of each size as one of each number of ranks computes it."""
    kinds = product(arguments.ranks, arguments.precision, arguments.attention)
    for ranks, precision, attention in kinds:
        world, last = pretend(ranks), sizes[-1]
        size = last.width, last.height, last.frames
        workload = Workload(*size, precision=precision, attention=attention)
        given = arguments.model, machine.dtype, machine.device, [], world, workload, print
        model = build.build_transformer(*given, arguments.compile).model
        for video in sizes:
            step = make_step(model, random_inputs(arguments.model, video, machine.device))
            rows.add(f"step, {precision}, {attention}, {video}", ranks, step)
        del model, step
        release()


@torch.inference_mode()
def codec(arguments: argparse.Namespace, machine: Machine, sizes: list[Video], rows: Rows) -> None:
    """Time the same of the VAE."""
    for ranks, video in product(arguments.ranks, sizes):
        pretend(ranks)
        vae = load_part(AutoencoderKLWan, arguments.model / "vae", machine.dtype)
        ours = SplitCodec(vae.to(machine.device), ranks, compiled=arguments.compile != "off")
        t, h, w = video.latent_shape
        frames = torch.rand(1, 3, video.frames, video.height, video.width) * 2 - 1
        latents = torch.randn(1, 16, t - 1, h, w, device=machine.device)
        frames = frames.to(machine.device)
        rows.add(f"encode both, {video}", ranks, partial(ours.encode_both, [frames], [frames]))
        rows.add(f"decode, {video}", ranks, lambda ours=ours, x=latents: [*ours.decode(x)])
        del ours, vae
        release()


def main(arguments: argparse.Namespace) -> None:
    """Print the rows."""
    machine = machine_of(ALONE, choose_device("auto", arguments.model))
    machine = replace(machine, compiling=arguments.compile)
    sizes = [TINY] if arguments.tiny else [SIZES[index] for index in arguments.sizes]
    dist.all_to_all_single, dist.all_gather = copy_to_all, copy_for_all
    build.fill_transformer = fill_alone
    rows = Rows(arguments.repeats)
    for part in arguments.parts:
        {"steps": steps, "vae": codec}[part](arguments, machine, sizes, rows)
    gpu = machine.device.type == "cuda" and torch.cuda.get_device_name(machine.device)
    rows.table.write(arguments.output, {"gpu": gpu or "CPU"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--parts", nargs="+", default=["steps", "vae"], choices=("steps", "vae"))
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=("bf16", "fp8"))
    parser.add_argument("--attention", nargs="+", default=["exact"], choices=("exact", "8bit"))
    parser.add_argument("--compile", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--sizes", nargs="+", type=int, choices=(0, 1, 2), default=[0, 2])
    parser.add_argument("--repeats", type=int, default=2, help="calls after the first")
    parser.add_argument("--tiny", action="store_true", help="a size for a CPU")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    set_environment(given.model, 1)
    main(given)
