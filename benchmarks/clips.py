"""Time clips from command to file, as the workflow's rule has them sampled.

PYTHONPATH=workflow/scripts:tests python benchmarks/clips.py MODEL [--gpus 2] [--precision fp8] ...

Each run is a new process, and its parts are told apart by the lines it prints: they add up. The
last columns are what the sampler tells of its segment, each a part of one before them.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from measure import FULL, PROMPT_TOKENS, TINY, Table, Video, forget

import sampler_clip
from animate.config.models.declared import DRIVEN
from animate.model.text import save_prompt
from animate.weights.kinds import folder_kind
from animate.weights.prepared import COPIES, TRANSFORMER

LAUNCHER = Path(__file__).parents[1] / "workflow/scripts/launch_sampler.py"
STEP = re.compile(r"segment \d+/\d+ step (\d+)/")
SEGMENT, PART = re.compile(r"segment \d+/\d+: (.+)"), re.compile(r"(\w+) ([\d.]+) s")
# What the sampler tells of its segments beside their steps, and what is left when the last one is.
TOLD = ("frames", "encoding", "constants", "decoding", "storing", "ending")
PARTS = ("first line", "imports", "loading", "before steps", "all steps", "to a file", "exit")
COLUMNS = {"clip": 32} | dict.fromkeys(("a step", *PARTS, "all", "compiled", *TOLD), 7)

# How the distilled model of Wan-Animate-2 is sampled.
DISTILLED = {"solver": "dpm++", "log_scale": -1.3}

Line = tuple[float, str]


def write_inputs(folder: Path, model: Path, mode: str, video: Video) -> Path:
    """Write a clip's inputs of that size, for the model's kind, and return a settings file."""
    config = json.loads((model / TRANSFORMER / "config.json").read_text())
    size, frames = (video.width, video.height), video.frames
    prompts = ["prompt"]
    if folder_kind(model / TRANSFORMER).name == DRIVEN:
        path = sampler_clip.write_driven_clip(folder, model, frames, size, **DISTILLED)
        prompts.append("driving_prompt")
    else:
        sampler_clip.FACE_SIZE = config["motion_encoder_size"]
        path = sampler_clip.write_clip(folder, model, frames, mode, size)
    prompt = torch.randn(PROMPT_TOKENS, config["text_dim"], generator=torch.manual_seed(0))
    for name in prompts:
        save_prompt(folder / f"{name}.safetensors", prompt)
    return path


def write_job(inputs: Path, folder: Path, **settings) -> Path:
    """Write a settings file for those inputs, whose results go into `folder`."""
    folder.mkdir()
    job = json.loads(inputs.read_text())
    job["settings"] |= settings
    for name in ("output", "record", "journal", "progress"):
        job[name] = str(folder / Path(job[name]).name)
    path = folder / "sampled.json"
    path.write_text(json.dumps(job))
    return path


def listen(command: list, log: Path) -> tuple[list[Line], float]:
    """Run a command; return its lines and its end, in seconds after its start.

    Standard error goes to a log, as in the rule.
    """
    with log.open("w") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines = []
        for line in process.stdout:
            lines.append((time.perf_counter() - began, line.strip()))
        if process.wait():
            sys.exit("\n".join([*(line for _, line in lines), log.read_text()]))
        return lines, time.perf_counter() - began


def seconds_of_parts(lines: list[Line], end: float) -> dict[str, float]:
    """Return the seconds of each of `PARTS`, which follow one another, and of "a step"."""

    def when(words: str) -> float:
        return next(moment for moment, line in lines if words in line)

    steps = [(moment, int(step[1])) for moment, line in lines if (step := STEP.search(line))]
    # What lies between segments is no step.
    step = median(after - before for (before, _), (after, n) in pairwise(steps) if n > 1)
    moments = [0.0, lines[0][0], when("loading the model from"), when("the model is loaded")]
    moments += [steps[0][0] - step, steps[-1][0], when("finished:"), end]
    seconds = (after - before for before, after in pairwise(moments))
    return dict(zip(PARTS, seconds, strict=True)) | {"a step": step}


def told_parts(lines: list[Line]) -> dict[str, float]:
    """Return the seconds of `TOLD`, each in all segments; "ending" is up to the finished clip."""
    found = dict.fromkeys(TOLD, 0.0)
    segments = [(moment, told[1]) for moment, line in lines if (told := SEGMENT.search(line))]
    for _, told in segments:
        for name, seconds in PART.findall(told):
            if name in found:
                found[name] += float(seconds)
    finished = next(moment for moment, line in lines if "finished:" in line)
    return found | {"ending": finished - segments[-1][0]}


def main(arguments: argparse.Namespace) -> None:
    """Print a row for each clip, and what sampled them."""
    model, video = arguments.model, TINY if arguments.tiny else FULL
    if arguments.size:
        video = Video(*arguments.size)
    # Where the launcher has compiled code kept.
    compiled = model.resolve().parent / ".compiled"
    table = Table(COLUMNS)
    made_by = {}
    with TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        inputs = {mode: write_inputs(folder / mode, model, mode, video) for mode in arguments.mode}
        kinds = product(arguments.mode, arguments.precision, arguments.steps)
        for number, (mode, precision, steps) in enumerate(kinds):
            for turn in range(arguments.rounds):
                cold = arguments.cold and not turn
                if cold:
                    for part in (TRANSFORMER, *COPIES.values(), "vae", "image_encoder"):
                        forget(model / part)
                settings = {"steps": steps, "precision": precision, "segment_frames": video.frames}
                job = write_job(inputs[mode], folder / f"{number} {turn}", **settings)
                known = len(list(compiled.rglob("*")))
                command = [sys.executable, LAUNCHER, f"--gpus={arguments.gpus}", job]
                lines, end = listen(command, job.with_suffix(".log"))
                name = f"{mode}, {precision}, {steps} steps, {turn + 1}{', cold' if cold else ''}"
                made = len(list(compiled.rglob("*"))) - known
                parts = seconds_of_parts(lines, end) | told_parts(lines)
                table.add(name, **parts, all=end, compiled=made)
                plan = next(line for _, line in lines if "weights" in line).split(": ", 1)[1]
                (run,) = json.loads((job.parent / "sampling.json").read_text())["segments"]
                made_by[plan] = run["made_by"]
    for plan, machine in made_by.items():
        print(f"\n{plan}\n{json.dumps(machine)}")
    table.write(arguments.output, {"made_by": made_by})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--mode", nargs="+", default=["animate"], choices=("animate", "replace"))
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=("bf16", "fp8"))
    parser.add_argument("--steps", nargs="+", type=int, default=[4, 20], help="2 or more")
    parser.add_argument("--rounds", type=int, default=2, help="of each clip, in a row")
    parser.add_argument("--cold", action="store_true", help="first rounds read the model from disk")
    parser.add_argument("--tiny", action="store_true", help="clips for a CPU")
    parser.add_argument("--size", nargs=3, type=int, help="width, height and frames of the clips")
    parser.add_argument("--folder", type=Path, help="for the clips; the system's temporary one")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    main(parser.parse_args())
