"""Time denoising steps and the VAE, loaded as for a clip, beside diffusers' own.

PYTHONPATH=workflow/scripts:tests python benchmarks/steps.py MODEL
PYTHONPATH=workflow/scripts:tests torchrun --standalone --nproc_per_node=2 benchmarks/steps.py MODEL

MODEL is a model folder, of random_model.py or a real one. What several GPUs compute is compared to
one GPU's. diffusers is timed on one GPU; nothing here changes PyTorch's settings for either side.
"""

import argparse
import gc
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from clips import write_inputs, write_job
from diffusers import AutoencoderKLWan
from measure import (
    FULL,
    TINY,
    Table,
    Video,
    difference,
    make_step,
    random_inputs,
    set_environment,
    timed,
)
from torch.nn.attention import SDPBackend, sdpa_kernel

from animate.config.job import read_job
from animate.devices.machine import Machine, choose_device, machine_of
from animate.devices.world import ALONE, join_world
from animate.kernels.attention import KERNELS, choose_attention
from animate.model.parts import load_part
from animate.model.transformer import SamplingTransformer
from animate.model.vae import VideoCodec
from animate.model.wan import TEXT_TOKENS
from animate.parallel import build, forwards
from animate.parallel.plan import (
    FSDP2,
    OFFLOAD,
    REPLICATED,
    Plan,
    Workload,
    model_sizes,
    plans,
)
from animate.sampling.models import Models, load_models
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.weights.prepared import transformer_folder
from wan_codec import WanCodec
from whole_model import load_transformer

SIZES = (Video(832, 464, 77), Video(960, 720, 77), FULL)
PARTS = ("diffusers", "vae", "steps", "job")
NUMBERS = ("seconds", "first", "allocated", "reserved", "planned", "error")
COLUMNS = {"what": 76} | dict.fromkeys(NUMBERS, 9)
PLANNED = re.compile(r"expected peak ([\d.]+) GiB")


class Benchmark:
    """Measures on the ranks of a machine, into one table."""

    def __init__(self, arguments: argparse.Namespace, machine: Machine):
        self._model, self._machine, self._repeats = arguments.model, machine, arguments.repeats
        sizes = [TINY] if arguments.tiny else SIZES
        self.sizes = [sizes[index] for index in arguments.sizes or range(len(sizes))]
        self.table = Table(COLUMNS, machine.world.leads)
        self._plain: dict[Video, torch.Tensor] = {}

    def row(self, name: str, call: Callable, expected=None, planned="", **timing) -> torch.Tensor:
        """Add what a call takes, and how far its result is from what is expected; return that."""
        found, result = timed(
            call, **{"repeats": self._repeats, "world": self._machine.world} | timing
        )
        error = None if expected is None else difference(result, expected)
        self.table.add(name, **vars(found), planned=planned, error=error)
        return result

    def plain(self) -> None:
        """Run, on rank 0 alone, the uncompiled bf16 step that all others are compared to."""
        world = self._machine.world
        if world.leads:
            alone = replace(self._machine, world=ALONE, compiling="off")
            model = self.load("bf16", alone)[0].transformer
            for video in self.sizes:
                step = make_step(model, self.inputs(video))
                self._plain[video] = self.row(f"plain step, {video}", step, world=ALONE).cpu()
        world.gather(None)

    def load(
        self, precision: str, machine: Machine, attention: str = "exact"
    ) -> tuple[Models, str]:
        """Return the models as a clip of the last size loads them, and the GiB planned for it."""
        video, said = self.sizes[-1], []
        size = video.width, video.height, video.frames
        workload = Workload(*size, precision=precision, attention=attention)
        models = load_models(self._model, [], workload, machine, said.append)
        return models, PLANNED.search("\n".join(said))[1]

    def steps(self, name: str, planned: str, model: SamplingTransformer, profiled: bool) -> None:
        """Time a step at every size, and profile the last."""
        for video in self.sizes:
            step = make_step(model, self.inputs(video))
            self.row(f"{name}, {video}", step, self._plain.get(video), planned)
        if profiled:
            profile(step, self._machine)

    @torch.inference_mode()
    def diffusers(self) -> None:
        """Time diffusers' forward on the same weights, by PyTorch's attention and by cuDNN's."""
        folder = transformer_folder(
            self._model, "bf16" if self._machine.dtype == torch.bfloat16 else None
        )
        model = load_transformer(folder, self._machine.dtype, self._machine.device)
        # Its tables of positions were built without memory, since our forward has its own.
        shape = model.config.attention_head_dim, model.config.patch_size
        tables = type(model.rope)(*shape, model.config.rope_max_seq_len)
        model.rope = tables.to(self._machine.device)
        ways = {"": nullcontext}
        if self._machine.device.type == "cuda":
            ways[", cuDNN attention"] = partial(sdpa_kernel, SDPBackend.CUDNN_ATTENTION)
        for (way, context), video in product(ways.items(), self.sizes):
            with context():
                step = diffusers_step(model, self.inputs(video))
                self.row(f"diffusers' step{way}, {video}", step, self._plain[video])

    @torch.inference_mode()
    def codec(self, ours: VideoCodec) -> None:
        """Time encoding and decoding at every size, diffusers' on one GPU, too."""
        world, device = self._machine.world, self._machine.device
        vae = load_part(AutoencoderKLWan, self._model / "vae", self._machine.dtype).to(device)
        theirs = WanCodec(vae)
        for video in self.sizes:
            t, h, w = video.latent_shape
            generator = torch.Generator(device).manual_seed(0)
            shape = 1, 3, video.frames, video.height, video.width
            frames = torch.rand(shape, device=device, generator=generator) * 2 - 1
            latents = torch.randn(1, 16, t - 1, h, w, device=device, generator=generator)
            for name, given in (("encode", frames), ("decode", latents)):
                call, own = (partial(_whole, getattr(c, name), given) for c in (theirs, ours))
                one = world.size == 1
                expected = self.row(f"diffusers' {name}, {video}", call) if one else call()
                self.row(f"{name}, {video}", own, expected)

    def job(self, name: str, planned: str, precision: str, compiling: str, attention: str) -> None:
        """Measure the peak of a job that samples a whole clip of the last size."""
        video, world = self.sizes[-1], self._machine.world
        machine, path = replace(self._machine, compiling=compiling), None
        settings = {"steps": 2, "segment_frames": video.frames}
        settings |= {"precision": precision, "attention": attention}
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if world.leads:
                inputs = write_inputs(folder / "inputs", self._model, "animate", video)
                path = write_job(inputs, folder / "clip", **settings)
            job = read_job(world.share(path))
            call = partial(run_job, job, machine, Progress(name, quiet=True))
            self.row(f"job of 2 steps, {name}, {video}", call, planned=planned, repeats=0)

    def inputs(self, video: Video) -> dict[str, torch.Tensor]:
        """Return random inputs of a step."""
        return random_inputs(self._model, video, self._machine.device)


def _whole(code: Callable, given: torch.Tensor) -> torch.Tensor:
    """Return what a codec makes of a video or latents, the pieces of a video joined."""
    made = code(given)
    return made if isinstance(made, torch.Tensor) else torch.cat([*made], dim=2)


def diffusers_step(model, inputs: dict[str, torch.Tensor]):
    """Return a function that runs diffusers' own forward on the same inputs."""
    dtype = model.patch_embedding.weight.dtype
    prompt = inputs["prompt_embeds"]
    arguments = {
        "hidden_states": torch.cat((inputs["latents"], inputs["condition_latents"]), dim=1),
        "encoder_hidden_states": F.pad(prompt, (0, 0, 0, TEXT_TOKENS - prompt.shape[1])),
        "encoder_hidden_states_image": inputs["image_embeds"],
        "pose_hidden_states": inputs["pose_latents"],
        "face_pixel_values": inputs["face"],
    }
    arguments = {name: value.to(dtype) for name, value in arguments.items()}
    timestep = torch.tensor([700], device=prompt.device)
    return lambda: model(timestep=timestep, **arguments).sample


class NoPlan(Exception):
    """There is no plan of the kind that is asked for."""


def force(placement: str, kernel: str | None, by_frames: bool = False) -> None:
    """Have models loaded by the fastest plan with that placement, whatever memory there is.

    Of weights in host memory no block stays on the GPU. A plan by frames is there where it takes
    less memory than the plain one; where there is none, loading raises a `NoPlan`.
    """

    def plan(model, device, world, workload, fresh=None) -> Plan:
        lengths = workload.tokens, workload.width * workload.height, workload.frames, world.size
        options = workload.branches, workload.vae_precision, workload.attention
        for found in plans(model_sizes(model), *lengths, *options):
            if (found.placement, found.by_frames) == (placement, by_frames):
                return found
        way = "by frames " if by_frames else ""
        raise NoPlan(f"no plan {way}has the weights {placement} on {world.size} ranks")

    build.common_plan = plan
    kernels = {kernel: KERNELS[kernel]} if kernel else None
    forwards.choose_attention = partial(choose_attention, kernels=kernels)


@torch.inference_mode()
def profile(step, machine: Machine) -> None:
    """Print the kernels that take most of a step's time on rank 0."""
    if machine.device.type == "cpu" or not machine.world.leads:
        step()
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    print(recorded.key_averages().table(sort_by="self_device_time_total", row_limit=14), flush=True)


def main(arguments: argparse.Namespace, machine: Machine) -> None:
    """Run the parts asked for, on each way to sample."""
    world, parts = machine.world, arguments.parts
    cuda = machine.device.type == "cuda"
    gpu = torch.cuda.get_device_name(machine.device) if cuda else "CPU"
    if world.leads:
        print(f"{world.size} x {gpu}, torch {torch.__version__}", flush=True)
    benchmark = Benchmark(arguments, machine)
    if {"diffusers", "steps"} & {*parts}:
        benchmark.plain()
        release()
    if "diffusers" in parts and world.size == 1:
        benchmark.diffusers()
        release()
    placements = arguments.placement or [REPLICATED, OFFLOAD] + [FSDP2] * (world.size > 1)
    # The kernel of one's choice is of exact attention.
    attentions = [("exact", kernel) for kernel in arguments.kernels or [None]]
    attentions = [one for one in [*attentions, ("8bit", None)] if one[0] in arguments.attention]
    ways = (arguments.precision, placements, arguments.compile, attentions)
    for number, (precision, placement, compiling, way) in enumerate(product(*ways)):
        kind, kernel = way
        force(placement, kernel, arguments.by_frames)
        try:
            models, planned = benchmark.load(precision, replace(machine, compiling=compiling), kind)
        except NoPlan as none:
            print(none, flush=True)
            continue
        attention = models.made_by["attention"]
        name = f"{precision}, {placement}, compile {compiling}, {attention} attention"
        name += ", by frames" if arguments.by_frames else ""
        if "vae" in parts and not number:
            benchmark.codec(models.codec)
        if "steps" in parts:
            benchmark.steps(name, planned, models.transformer, arguments.profile)
        del models
        release()
        if "job" in parts:
            benchmark.job(name, planned, precision, compiling, kind)
            release()
    benchmark.table.write(arguments.output, {"gpus": world.size, "gpu": gpu})


def release() -> None:
    """Free the model before, and what was compiled for it."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--parts", nargs="+", default=PARTS[:3], choices=PARTS)
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=("bf16", "fp8"))
    parser.add_argument("--attention", nargs="+", default=["exact"], choices=("exact", "8bit"))
    parser.add_argument("--placement", nargs="+", choices=(REPLICATED, FSDP2, OFFLOAD))
    parser.add_argument("--by-frames", action="store_true", help="the plans that take less memory")
    parser.add_argument("--compile", nargs="+", default=["auto"], choices=("auto", "on", "off"))
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, help="of attention")
    parser.add_argument("--sizes", nargs="+", type=int, choices=(0, 1, 2), help="of the three")
    parser.add_argument("--repeats", type=int, default=2, help="calls after the first")
    parser.add_argument("--tiny", action="store_true", help="a size for a CPU")
    parser.add_argument("--profile", action="store_true", help="where a step's time goes")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    set_environment(given.model, int(os.environ.get("WORLD_SIZE", 1)))
    device = choose_device("auto", given.model)
    with join_world(device) as joined:
        main(given, machine_of(joined, device))
