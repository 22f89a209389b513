"""Measure seconds and peak GPU memory of editing a picture, as the rules of retargeting do it.

PYTHONPATH=workflow/scripts:tests python benchmarks/retarget.py FOLDER [--tiny] [--steps 28]

Without a pipeline in FOLDER one is written with random weights, of FLUX.1 Kontext's size unless
`--tiny`. Each placement runs in a process of its own; `auto` is what the rule chooses here.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from animate.config.settings import EditSettings
from animate.editing.editor import Editor, write_prompts
from editors import TINY, write_editor

# Of the published configuration: 12 billion parameters, CLIP ViT-L and T5 XXL.
FULL = {
    "transformer": {
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "guidance_embeds": True,
        "axes_dims_rope": (16, 56, 56),
    },
    "vae": {"block_out_channels": (128, 256, 512, 512), "latent_channels": 16}
    | {"layers_per_block": 2, "mid_block_add_attention": True},
    "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    | {"num_attention_heads": 12, "projection_dim": 768, "vocab_size": 49408},
    "text_encoder_2": {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24}
    | {"num_heads": 64, "vocab_size": 32128},
}
PLACEMENTS = ("auto", "whole", "parts", "fp8", "layers")
SIZE = (1280, 720)
COLUMNS = ("placement", "load", "first picture", "next picture", "peak GB", "as whole")


def main() -> None:
    args = _parser().parse_args()
    if args.placement:
        print(json.dumps(edit(args.folder, args.placement, args.steps)))
        return
    on_gpu = torch.cuda.is_available()
    if not (args.folder / "model_index.json").exists():
        start = time.perf_counter()
        sizes = TINY if args.tiny else FULL
        where = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
        write_editor(args.folder, sizes, *where)
        print(f"random weights: {time.perf_counter() - start:.1f} s", flush=True)
    torch.cuda.empty_cache()
    start = time.perf_counter()
    write_prompts(args.folder / "prompts.safetensors", args.folder)
    print(f"prompts, on the CPU: {time.perf_counter() - start:.1f} s", flush=True)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for placement in args.placements:
        command = [sys.executable, __file__, str(args.folder), "--placement", placement]
        command += ["--steps", str(args.steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else ["failed"] * 5
        print(f"| {placement} | {' | '.join(map(str, row))} |", flush=True)


def edit(folder: Path, placement: str, steps: int) -> list[float | str]:
    """Return seconds of loading, of a first and of another picture, peak GB, and how far it is from
    the first placement's picture."""
    picture = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    start = time.perf_counter()
    options = {} if placement == "auto" else {"placement": placement}
    settings = EditSettings(retarget_steps=steps)
    editor = Editor(folder, folder / "prompts.safetensors", settings, "auto", **options)
    times = [time.perf_counter()]
    for _ in range(2):
        edited = editor(picture, "standing_wide")
        times.append(time.perf_counter())
    seconds = [round(b - a, 1) for a, b in zip([start, *times], times, strict=False)]
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else 0.0
    first = folder / "edited.npy"
    if not first.exists():
        np.save(first, edited)
    apart = np.abs(np.load(first).astype(int) - edited).mean()
    return [*seconds, round(peak, 1), f"{apart:.2f} of 255"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the pipeline")
    parser.add_argument("--tiny", action="store_true", help="for a CPU")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--placements", nargs="+", choices=PLACEMENTS, default=PLACEMENTS)
    parser.add_argument("--placement", choices=PLACEMENTS, help="one, in this process")
    return parser


if __name__ == "__main__":
    main()
