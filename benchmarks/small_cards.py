"""Whole clips on a large GPU of which no more may be used than a smaller card has.

PYTHONPATH=workflow/scripts:tests python benchmarks/small_cards.py MODEL --gib 12 --precision fp8

MODEL is a folder, of random_model.py or a real one. PyTorch's own limit on a process's memory has
what does not fit fail, as it would on the card; the plan sees what is free of a card that shows a
desktop, too. `--host-gib` has the plan see a smaller host. There is a row for each part of the
segment, with the peak of its own, and one for the whole clip; the peak of the sampler is expected
to be below the plan's, less what CUDA takes beside PyTorch.
"""

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from clips import write_inputs, write_job
from measure import FULL, GIB, TINY, Table, Video, set_environment

from animate.config.job import read_job
from animate.devices.machine import choose_device, machine_of
from animate.devices.world import ALONE
from animate.parallel import build
from animate.sampling.models import KeptModels
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.weights.prepare import prepare

# What a card has free, and what CUDA takes of that beside PyTorch's allocator, in GiB.
FREE, CONTEXT = 0.95, 0.6
COLUMNS = {"part": 40} | dict.fromkeys(("seconds", "allocated", "reserved", "host"), 9)
PEAKS = torch.cuda.max_memory_allocated, torch.cuda.max_memory_reserved


class Measured(Progress):
    """Progress that prints the peaks of each part of a segment, and of what came before it."""

    def __init__(self, clip: str, table: Table):
        super().__init__(clip)
        self._table, self._began, self.highest = table, time.perf_counter(), (0.0, 0.0)

    def stage(self, name: str) -> None:
        """See `Progress`."""
        super().stage(name)
        self._row(name)

    def part(self, name: str) -> None:
        """See `Progress`."""
        super().part(name)
        self._row(name)

    def _row(self, name: str) -> None:
        now, cuda = time.perf_counter(), torch.cuda.is_initialized()
        found = tuple(peak() / GIB for peak in PEAKS) if cuda else (0.0, 0.0)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        self.highest = tuple(map(max, self.highest, found))
        self._table.add(name, **row(now - self._began, found if cuda else None))
        self._began = time.perf_counter()


def row(seconds: float, peaks: tuple[float, float] | None) -> dict[str, float | None]:
    """Return a row: seconds, GiB on the GPU where there is one, and on the host so far."""
    found = dict(zip(("allocated", "reserved"), peaks or (None, None), strict=True))
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, **found, "host": host}


def limit(gib: float) -> None:
    """Let this process use what is free of a card of `gib` GiB, and the plan see that."""
    free = int(FREE * gib * GIB)
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((free - CONTEXT * GIB) / whole)
    build.free_memory = lambda device: free


def main(arguments: argparse.Namespace) -> None:
    """Sample a clip; print its rows: seconds, and GiB on the GPU and on the host."""
    model, video = arguments.model, TINY if arguments.tiny else FULL
    if arguments.size:
        video = Video(*arguments.size)
    device = choose_device("auto", model)
    if device == "cuda":
        limit(arguments.gib)
    if arguments.host_gib is not None:
        build.free_host_memory = lambda: int(arguments.host_gib * GIB)
    print(prepare(model, arguments.precision))
    table = Table(COLUMNS)
    with TemporaryDirectory(dir=arguments.folder) as temporary:
        inputs = write_inputs(Path(temporary) / "inputs", model, arguments.mode, video)
        settings = {"steps": arguments.steps, "precision": arguments.precision}
        settings["segment_frames"] = video.frames
        job = read_job(write_job(inputs, Path(temporary) / "job", **settings))
        machine = machine_of(ALONE, device)
        began = time.perf_counter()
        progress = Measured(job.clip, table)
        run_job(job, machine, progress, KeptModels(machine))
        seconds = time.perf_counter() - began
    name = f"{video}, {arguments.precision}, {arguments.gib:g} GiB"
    table.add(name, **row(seconds, progress.highest if device == "cuda" else None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--gib", type=float, default=12, help="memory of the card")
    parser.add_argument("--host-gib", type=float, help="memory of the host that is free")
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    parser.add_argument("--mode", choices=("animate", "replace"), default="animate")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=3, help="width, height and frames")
    parser.add_argument("--folder", type=Path, help="for the clip's files")
    parser.add_argument("--tiny", action="store_true", help="a clip for a tiny model on a CPU")
    given = parser.parse_args()
    set_environment(given.model, 1)
    main(given)
