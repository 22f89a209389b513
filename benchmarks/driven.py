"""Time what Wan-Animate-2 does of a segment, beside diffusers' own on the same weights.

PYTHONPATH=workflow/scripts:tests python benchmarks/driven.py MODEL [--streamed] [--theirs] ...

MODEL is a folder of `random_model.py --model wan-animate-2`, or a real one. A row each for the pass
over the driving segment and for a step, without and with the distilled model's scale.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from measure import PROMPT_TOKENS, Table, Video, set_environment, timed

from animate.devices.machine import choose_device, machine_of
from animate.devices.world import ALONE
from animate.model.animate2.driving import DrivingKeys
from animate.model.animate2.transformer import DrivenTransformer
from animate.parallel.build import build_transformer
from animate.parallel.driving import StreamedMemory
from animate.parallel.plan import Workload
from animate.weights.prepared import TRANSFORMER
from driven_models import TIMESTEP, their_driving, their_velocity, tiny_inputs
from whole_model import load_transformer

SCALES = {"": 0.0, ", scaled first frame": -1.3}
COLUMNS = {"what": 60} | dict.fromkeys(("seconds", "first", "allocated", "reserved", "error"), 9)
FULL, TINY = Video(1280, 720, 81), Video(64, 48, 13)


def step_of(
    model: DrivenTransformer, given: dict[str, torch.Tensor], driving: DrivingKeys, scale: float
) -> torch.Tensor:
    """Return the velocity of one step, whose constants are part of what is timed."""
    inputs = given["condition"], given["image"], given["prompt"], driving, scale
    constants = model.segment_constants(*inputs)
    return model(given["latents"], model.time_embedding(torch.tensor([TIMESTEP])), constants)


@torch.inference_mode()
def main(arguments: argparse.Namespace) -> None:
    """Print the rows."""
    video = TINY if arguments.tiny else Video(*arguments.size) if arguments.size else FULL
    machine = machine_of(ALONE, choose_device("auto", arguments.model))
    config = json.loads((arguments.model / TRANSFORMER / "config.json").read_text())
    frames, height, width = video.latent_shape
    given = tiny_inputs((frames - 1, height // 2, width // 2), config["text_dim"])
    given["prompt"] = torch.randn(1, PROMPT_TOKENS, config["text_dim"])
    given = {name: tensor.to(machine.device) for name, tensor in given.items()}
    table, expected = Table(COLUMNS), {}

    def row(name: str, call, compared: torch.Tensor | None = None):
        timing, result = timed(call, repeats=arguments.repeats)
        error = None
        if compared is not None:
            error = float((result.float() - compared).norm() / compared.norm())
        table.add(name, **vars(timing), error=error)
        return result

    if arguments.theirs:
        weights = load_transformer(arguments.model / TRANSFORMER, machine.dtype, machine.device)
        if machine.device.type == "cuda":
            # As diffusers' guide has it: plain flex attention would need 1.8 TiB.
            weights.compile_repeated_blocks(fullgraph=False)
        typed = {name: tensor.to(machine.dtype) for name, tensor in given.items()}
        cache = row(
            "diffusers' pass over the driving segment", partial(their_driving, weights, typed)
        )
        step = partial(their_velocity, weights, typed, cache)
        expected[0.0] = row("diffusers' step", step).float()
        del weights, cache, step
        torch.cuda.empty_cache()
    workload = Workload(video.width, video.height, video.frames, precision=arguments.precision)
    options = machine.dtype, machine.device, [], ALONE, workload, print, arguments.compile
    model = build_transformer(arguments.model, *options).model
    for place, memory in {"resident": None, "streamed": StreamedMemory()}.items():
        if place not in arguments.keys:
            continue
        if memory:
            model.keep_in(memory)
        keep = partial(model.keep_driving, given["driving"], given["driving_image"])
        keep = partial(keep, given["driving_prompt"])
        name = f"{arguments.precision}, keys {place}"
        driving = row(f"pass over the driving segment, {name}", keep)
        for scaled, scale in SCALES.items():
            step = partial(step_of, model, given, driving, scale)
            found = row(f"step, {name}{scaled}", step, expected.get(scale))
            expected.setdefault(scale, found.float())
        del driving, step, found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    parser.add_argument("--keys", nargs="+", default=["resident"], choices=("resident", "streamed"))
    parser.add_argument("--theirs", action="store_true", help="diffusers' own, first")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=3, help="width, height and frames")
    parser.add_argument("--tiny", action="store_true", help="a segment for a tiny model on a CPU")
    given_arguments = parser.parse_args()
    set_environment(given_arguments.model, 1)
    main(given_arguments)
