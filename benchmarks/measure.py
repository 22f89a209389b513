"""What the benchmarks share: sizes of videos, a segment's random inputs, timing and tables."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from animate.devices.world import ALONE, World
from animate.model.transformer import SamplingTransformer
from animate.weights.prepared import TRANSFORMER
from launch_sampler import rank_environment

GIB = 2**30
# A sentence or two; the default prompt has about ten.
PROMPT_TOKENS = 40


@dataclass(frozen=True)
class Video:
    """The size of a segment: pixels and frames."""

    width: int
    height: int
    frames: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.frames}"

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Latent frames (the reference's first), height and width."""
        return self.frames // 4 + 2, self.height // 8, self.width // 8


FULL, TINY = Video(1280, 720, 77), Video(64, 48, 13)


def random_inputs(model: Path, video: Video, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the arguments of `segment_constants` for the model of a folder, and `latents`."""
    config = json.loads((model / TRANSFORMER / "config.json").read_text())
    t, h, w = video.latent_shape
    face = config["motion_encoder_size"]
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator)

    return {
        "latents": noise(1, 16, t, h, w),
        "condition_latents": noise(1, 20, t, h, w),
        "pose_latents": noise(1, 16, t - 1, h, w),
        "face": noise(1, 3, video.frames, face, face).tanh(),
        "image_embeds": noise(1, 257, config["image_dim"]),
        "prompt_embeds": noise(1, PROMPT_TOKENS, config["text_dim"]),
    }


@torch.inference_mode()
def make_step(model: SamplingTransformer, inputs: dict[str, torch.Tensor]) -> Callable:
    """Return a function that runs one denoising step, its segment's constants computed."""
    given = {name: value for name, value in inputs.items() if name != "latents"}
    constants = model.segment_constants(**given)
    time_embedding = model.time_embedding(torch.tensor([700.0]))
    return lambda: model(inputs["latents"], time_embedding, constants)


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call and the median of the others; GiB allocated and reserved at most.

    Each is that of the rank with most.
    """

    first: float
    seconds: float
    allocated: float
    reserved: float


@torch.inference_mode()
def timed(call: Callable, repeats: int = 2, world: World = ALONE) -> tuple[Timing, torch.Tensor]:
    """Return how long `call` takes after a first time, and its last result."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats + 1):
        result = None
        world.gather(None)
        began = time.perf_counter()
        result = call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    found = [seconds[0], statistics.median(seconds[1:] or seconds)]
    peaks = torch.cuda.max_memory_allocated, torch.cuda.max_memory_reserved
    found += [peak() / GIB if cuda else 0.0 for peak in peaks]
    return Timing(*map(max, zip(*world.gather(found), strict=True))), result


def difference(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    result, expected = result.float(), expected.to(result.device).float()
    return float((result - expected).norm() / expected.norm())


def set_environment(model: Path, world_size: int) -> None:
    """Set what the launcher sets for a job: the allocator's way and where compiled code is kept."""
    with TemporaryDirectory() as folder:
        settings = Path(folder, "sampled.json")
        settings.write_text(json.dumps({"model": str(model)}))
        os.environ |= rank_environment(dict(os.environ), world_size, settings)


class Table:
    """Rows that are printed as they come, on rank 0; `columns` are names and widths."""

    def __init__(self, columns: dict[str, int], speaks: bool = True):
        self.rows: list[dict] = []
        self._columns = {name: max(width, len(name)) for name, width in columns.items()}
        self._speaks = speaks
        self._print({name: name for name in columns})
        self._print({name: "-" * width for name, width in self._columns.items()})

    def add(self, name: str, **values: float | None) -> None:
        """Print a row and keep it; numbers are rounded in print only."""
        row = dict(zip(self._columns, [name], strict=False)) | values
        self.rows.append(row)
        self._print(row)

    def write(self, path: Path | None, facts: dict) -> None:
        """Write the rows and what else is known as JSON, where a path is given."""
        if path and self._speaks:
            path.write_text(json.dumps({"rows": self.rows} | facts, indent=1) + "\n")

    def _print(self, row: dict) -> None:
        if self._speaks:
            cells = (_text(row.get(name)).ljust(width) for name, width in self._columns.items())
            print(f"| {' | '.join(cells)} |", flush=True)


def _text(value: float | str | None) -> str:
    return f"{value:#.4g}" if isinstance(value, float) else str("" if value is None else value)


def forget(folder: Path) -> None:
    """Take a folder's files out of the page cache; there may be no such folder."""
    os.sync()
    for path in folder.glob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
