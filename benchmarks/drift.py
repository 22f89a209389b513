"""What the settings for long clips change: joins and drift of one clip, for each setting and seed.

PYTHONPATH=workflow/scripts python benchmarks/drift.py MODELS --model tiny --seeds 5 ...

Runs the workflow itself, in a folder of its own, up to each clip's result_metrics.json. The driving
video is the demo's, whose motion comes round to where it began, as often as it takes.
"""

import argparse
import csv
import json
import subprocess
import sys
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from measure import Table

from animate.demo.clips import FRAME_RATE, FRAME_SIZE, moving_photograph, write_character
from animate.video.files import VideoWriter

ROOT = Path(__file__).parents[1]
VARIANTS = {
    "as the official code": {},
    "5 frames": {"conditioning_frames": 5},
    "9 frames": {"conditioning_frames": 9},
    "13 frames": {"conditioning_frames": 13},
    "colours": {"color_match": "overlap"},
    "5 frames, fade": {"conditioning_frames": 5, "overlap_blend": 3},
    "5 frames, colours": {"conditioning_frames": 5, "color_match": "overlap"},
    "5 frames, colours, fade": {
        "conditioning_frames": 5,
        "color_match": "overlap",
        "overlap_blend": 3,
    },
}
FIGURES = ("seams", "colour_drift", "sharpness_kept", "flicker", "identity", "background_psnr")
COLUMNS = {"clip": 32} | {name: 9 for figure in FIGURES for name in (figure, f"+- {figure}")}


def write_film(path: Path, frames: int) -> None:
    """Write the demo's driving video, again and again, until there are so many frames."""
    pictures = list(moving_photograph())
    with VideoWriter(path, FRAME_SIZE, Fraction(FRAME_RATE), "result") as video:
        for picture in islice(cycle(pictures), frames):
            video.write(picture)


def write_project(folder: Path, arguments: argparse.Namespace, rate: float) -> list[str]:
    """Write configuration, table and videos of the clips; return their names, one a variant."""
    frames = arguments.segments * (arguments.segment_frames - 1) + 1
    video, reference = arguments.video, arguments.reference
    if not video:
        video, reference = folder / "driving.mp4", folder / "character.png"
        write_film(video, frames)
        write_character(reference)
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text((ROOT / "config/config.yaml").read_text("utf-8"))
    common = {"video": video.resolve(), "reference": reference.resolve(), "mode": arguments.mode}
    common |= {"segment_frames": arguments.segment_frames, "segment_fit": "pad", "cuts": "ignore"}
    common |= {"fps": "source", "end": f"{frames / rate:.3f}", "require": "none"}
    common |= {"resolution_area": arguments.area, "seed": f"0..{arguments.seeds - 1}"}
    common |= {"steps": arguments.steps} if arguments.steps else {}
    common |= {"seed": "0"} if arguments.seeds == 1 else {}
    common |= dict(pair.split("=", 1) for pair in arguments.set)
    names = {variant: f"variant{number}" for number, variant in enumerate(arguments.variants)}
    rows = [common | {"clip": names[v]} | VARIANTS[v] for v in arguments.variants]
    with (folder / "config/clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return list(names.values())


def figures_of(folder: Path, name: str, seeds: int) -> list[dict]:
    """Return the figures of a row's clips, one a seed."""
    clips = [name, *(f"{name}~seed{seed}" for seed in range(1, seeds))]
    found = (folder / "results" / clip / "result_metrics.json" for clip in clips)
    return [json.loads(path.read_text("utf-8")) for path in found]


def spread(figures: list[dict]) -> dict[str, float | None]:
    """Return mean and standard deviation of each figure over the seeds that have it."""
    row: dict[str, float | None] = {}
    for name in FIGURES:
        values = [one[name] for one in figures if one.get(name) is not None]
        row[name] = float(mean(values)) if values else None
        row[f"+- {name}"] = float(stdev(values)) if len(values) > 1 else None
    return row


def main(arguments: argparse.Namespace) -> None:
    """Sample all clips and print a row for each variant."""
    with TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        names = write_project(folder, arguments, arguments.rate)
        clips = [n + (f"~seed{s}" if s else "") for n in names for s in range(arguments.seeds)]
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
        command += [f"results/{clip}/result_metrics.json" for clip in clips]
        command += ["--directory", folder, "--profile", ROOT / "profiles/local", "--quiet", "all"]
        command += ["--cores", str(arguments.cores), "--resources", f"gpu={arguments.gpus}"]
        command += ["--config", f"model={arguments.model}", f"models={arguments.models.resolve()}"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout}\n{done.stderr}")
        table, seeds = Table(COLUMNS), {}
        for variant, name in zip(arguments.variants, names, strict=True):
            seeds[variant] = figures_of(folder, name, arguments.seeds)
            table.add(variant, **spread(seeds[variant]))
        table.write(arguments.output, {"seeds": seeds})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, help="folder of the models")
    parser.add_argument("--model", default="tiny", help="as `model` in config.yaml")
    parser.add_argument("--mode", default="animate", choices=("animate", "replace"))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=10, help="of the official settings")
    parser.add_argument("--segment-frames", type=int, default=21)
    parser.add_argument("--area", default="128x128")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", nargs="+", default=[], metavar="COLUMN=VALUE", help="of all rows")
    parser.add_argument("--video", type=Path, help="another driving video, with --reference")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--rate", type=float, default=FRAME_RATE, help="its frames per second")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for the clips; the system's temporary one")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    main(parser.parse_args())
