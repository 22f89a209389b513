"""Time clips that one run has sampled one after another, by ranks that stay for the next clip.

PYTHONPATH=workflow/scripts:tests python benchmarks/warm_clips.py MODEL --clips 77 77 33:pad 33 ...

A clip is its frames and, behind a colon, its segment_fit. Each is a job of its own, started as the
workflow's rule starts it; the settings are those of the preset `turbo`, less its LoRA, which is
part of the weights once it is merged.
"""

import argparse
import os
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import yaml
from clips import LAUNCHER, STEP, TOLD, Line, listen, told_parts, write_inputs, write_job
from measure import FULL, TINY, Table

PRESETS = Path(__file__).parents[1] / "config/config.yaml"
PARTS = ("to a step", "steps", "to a file", "exit")
# Up to the line that says how many segments there are, and what the sampler tells of those.
MORE = ("start", *TOLD)


def seconds_of_parts(lines: list[Line], end: float) -> dict[str, float]:
    """Return the seconds before the first step ends, up to the last, and after it; they add up.

    Those of `MORE` are parts of them.
    """
    steps = [moment for moment, line in lines if STEP.search(line)]
    finished = next(moment for moment, line in lines if "finished:" in line)
    moments = [0.0, steps[0], steps[-1], finished, end]
    seconds = (after - before for before, after in pairwise(moments))
    start = next(moment for moment, line in lines if " segments of " in line)
    return dict(zip(PARTS, seconds, strict=True)) | {"start": start} | told_parts(lines)


def main(arguments: argparse.Namespace) -> None:
    """Print a row for each clip and the mean of those that found the model loaded."""
    size = TINY if arguments.tiny else FULL
    preset = yaml.safe_load(PRESETS.read_text())["presets"]["turbo"]
    preset = {name: value for name, value in preset.items() if name != "distillation_loras"}
    segment = {"segment_frames": size.frames, "precision": arguments.precision}
    options = [f"--gpus={arguments.gpus}", "--warm-seconds=60", f"--run={os.getpid()}"]
    table = Table({"clip": 32} | dict.fromkeys((*PARTS, "all", "frames/s", *MORE), 9))
    totals = []
    with TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        inputs = {}
        for number, clip in enumerate(arguments.clips):
            frames, _, fit = clip.partition(":")
            video = replace(size, frames=int(frames))
            if video not in inputs:
                path = folder / f"inputs {frames}"
                inputs[video] = write_inputs(path, arguments.model, arguments.mode, video)
            settings = {**preset, **segment, "segment_fit": fit or "even"}
            job = write_job(inputs[video], folder / f"clip {number}", **settings)
            command = [sys.executable, LAUNCHER, *options, job]
            lines, end = listen(command, job.with_suffix(".log"))
            parts = seconds_of_parts(lines, end)
            warm = any("is loaded already" in line for _, line in lines)
            parts |= {"all": end, "frames/s": int(frames) / end}
            table.add(f"{clip}{', warm' * warm}", **parts)
            totals += [end] * warm
    if totals:
        print(f"\n{len(totals)} warm clips: {mean(totals):.1f} s each")
    table.write(arguments.output, {"warm": totals})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--clips", nargs="+", default=["77"] * 11, help="FRAMES or FRAMES:FIT")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--mode", default="animate", choices=("animate", "replace"))
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp8"))
    parser.add_argument("--tiny", action="store_true", help="clips for a CPU")
    parser.add_argument("--folder", type=Path, help="for the clips; the system's temporary one")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    main(parser.parse_args())
