"""How far cheaper arithmetic is from bf16 and from fp32: one forward, and a whole run of steps.

PYTHONPATH=workflow/scripts:tests python benchmarks/numerics.py MODEL [--size 832 464 49] ...

MODEL is a folder, of random_model.py or a real one. A way is a precision and an attention. All ways
start from the same noise; each one's error is that of its velocity at timestep 700 and of the
latents after the last step, as a share of the first way's. With `--fp32` the velocity is compared
with that of weights and arithmetic in fp32, too, which a GPU of 80 GB or more holds.
"""

import argparse
import gc
from collections.abc import Iterator
from pathlib import Path

import torch
from measure import FULL, TINY, Table, Video, difference, make_step, random_inputs, set_environment

from animate.devices.machine import Machine, choose_device, machine_of
from animate.devices.world import ALONE
from animate.model.transformer import SamplingTransformer
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload
from animate.sampling.solvers import make_solver
from animate.weights.prepared import transformer_folder
from whole_model import load_transformer

WAYS = ("bf16,exact", "fp8,exact", "bf16,8bit", "fp8,8bit")
SHIFT = 5.0
COLUMNS = {"way": 16} | dict.fromkeys(("forward", "from fp32", "run"), 9) | {"attention": 30}


@torch.inference_mode()
def latents_of_run(model: SamplingTransformer, inputs: dict, steps: int) -> torch.Tensor:
    """Return the latents after a run's steps, unguided, from the noise in `inputs`."""
    given = {name: value for name, value in inputs.items() if name != "latents"}
    constants, latents = model.segment_constants(**given), inputs["latents"]
    solver = make_solver("unipc", steps, SHIFT, latents.device, ())
    times = model.time_embedding(solver.timesteps)
    for index, timestep in enumerate(solver.timesteps):
        velocity = model(latents, times.step(index), constants)
        latents = solver.step(velocity, timestep, latents, return_dict=False)[0]
    return latents


@torch.inference_mode()
def exact_velocity(model: Path, machine: Machine, inputs: dict) -> torch.Tensor:
    """Return the velocity with weights and arithmetic in fp32."""
    weights = load_transformer(transformer_folder(model, None), torch.float32, machine.device)
    return make_step(SamplingTransformer(weights), inputs)().cpu()


def models(arguments: argparse.Namespace, machine: Machine, video: Video) -> Iterator[tuple]:
    """Yield each way, its model and the name of its attention."""
    for way in arguments.ways:
        precision, attention = way.split(",")
        size = video.width, video.height, video.frames
        workload = Workload(*size, precision=precision, attention=attention)
        where = machine.dtype, machine.device, [], ALONE, workload, lambda said: None
        made = build_transformer(arguments.model, *where)
        yield way, made.model, made.how["attention"]
        del made
        release()


def release() -> None:
    """Free the model before, and what was compiled for it."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments: argparse.Namespace) -> None:
    """Print a row for each way."""
    video = TINY if arguments.tiny else Video(*arguments.size) if arguments.size else FULL
    machine = machine_of(ALONE, choose_device("auto", arguments.model))
    inputs = random_inputs(arguments.model, video, machine.device)
    exact = exact_velocity(arguments.model, machine, inputs) if arguments.fp32 else None
    release()
    print(f"{video}, {arguments.steps} steps")
    table, first = Table(COLUMNS), None
    for way, model, attention in models(arguments, machine, video):
        velocity = make_step(model, inputs)().cpu()
        found = velocity, latents_of_run(model, inputs, arguments.steps).cpu()
        first = first or found
        errors = dict(zip(("forward", "run"), map(difference, found, first), strict=True))
        if exact is not None:
            errors["from fp32"] = difference(velocity, exact)
        table.add(way, **errors, attention=attention)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--ways", nargs="+", default=WAYS, help="precision,attention")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=3, help="width, height and frames")
    parser.add_argument("--fp32", action="store_true", help="compare with fp32, too")
    parser.add_argument("--tiny", action="store_true", help="a segment for a tiny model on a CPU")
    given_arguments = parser.parse_args()
    set_environment(given_arguments.model, 1)
    main(given_arguments)
