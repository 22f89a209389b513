"""Measure seconds and peak memory of editing a picture, as the rules of retargeting do it.

PYTHONPATH=workflow/scripts:tests python benchmarks/retarget.py FOLDER [--tiny]
    [--placements whole parts fp8 layers] [--steps 28] [--most 240]

Without a pipeline in FOLDER one is written with random weights, of FLUX.1 Kontext's size unless
`--tiny`; nothing is fetched. Each placement runs in a process of its own, whose first edit of two
steps is a warm-up. Where `--steps` steps would take longer than a fifth of the `--most` seconds
that all placements have together, they are reckoned from two steps and marked with "~". `auto` is
what the rule chooses here.
"""

import argparse
import json
import resource
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
PROMPT = "standing_wide"
FEW = 2
COLUMNS = ("placement", "start", "load", "first {few} steps", "{steps} steps", "a step")
COLUMNS += ("peak GB", "reserved GB", "host GB")


def main() -> None:
    args = _parser().parse_args()
    if args.placement:
        print(json.dumps(edit(args.folder, args.placement, args.steps, args.most)))
        return
    on_gpu = torch.cuda.is_available()
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "model_index.json").exists():
        start = time.perf_counter()
        where = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
        write_editor(args.folder, TINY if args.tiny else FULL, *where)
        print(f"making the model: {time.perf_counter() - start:.1f} s", flush=True)
    torch.cuda.empty_cache()
    start = time.perf_counter()
    write_prompts(args.folder / "prompts.safetensors", args.folder)
    print(f"encoding all prompts on the CPU: {time.perf_counter() - start:.1f} s", flush=True)
    head = " | ".join(COLUMNS).format(few=FEW, steps=args.steps)
    print(f"| {head} |\n|{'---|' * len(COLUMNS)}", flush=True)
    end = time.monotonic() + args.most
    for placement in args.placements:
        row = _in_own_process(args, placement, end - time.monotonic())
        print(f"| {placement} | {' | '.join(map(str, row))} |", flush=True)


def edit(folder: Path, placement: str, steps: int, most: float) -> list[float | str]:
    """Return the seconds of loading, of a first edit, of `steps` steps, and of one step alone; then
    the GPU's peak memory, allocated and reserved, and the host's, in GB; and of all this."""
    picture = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    start = time.perf_counter()
    options = {} if placement == "auto" else {"placement": placement}
    editor = Editor(folder, folder / "prompts.safetensors", EditSettings(), "auto", **options)
    loaded = time.perf_counter() - start
    first, few, more = (_seconds(editor, picture, count) for count in (FEW, FEW, FEW + 1))
    each = more - few
    reckoned = few + (steps - FEW) * each
    all_steps = f"~{reckoned:.1f}"
    if reckoned <= most / 5:
        measured = _seconds(editor, picture, steps)
        all_steps = f"{measured:.1f}"
        each = (measured - few) / (steps - FEW) if steps > FEW else each
    peaks = [0.0, 0.0]
    if torch.cuda.is_available():
        peaks = [torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()]
    peaks.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    seconds = [round(loaded, 1), round(first, 1), all_steps, round(each, 2)]
    used = time.perf_counter() - start
    return [*seconds, *(round(peak / 1e9, 1) for peak in peaks), used]


def _seconds(editor: Editor, picture: np.ndarray, steps: int) -> float:
    editor.settings = EditSettings(retarget_steps=steps)
    start = time.perf_counter()
    editor(picture, PROMPT)
    return time.perf_counter() - start


def _in_own_process(args: argparse.Namespace, placement: str, left: float) -> list[float | str]:
    """Return a row of `edit`, with the seconds of the process's start before it."""
    empty = ["-"] * (len(COLUMNS) - 2)
    if left <= 0:
        return ["no time left", *empty]
    command = [sys.executable, __file__, str(args.folder), "--placement", placement]
    command += ["--steps", str(args.steps), "--most", str(args.most)]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return ["no time left", *empty]
    if done.returncode:
        return ["failed", *empty]
    row = json.loads(done.stdout.splitlines()[-1])
    used = row.pop()
    return [round(time.perf_counter() - start - used, 1), *row]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the pipeline")
    parser.add_argument("--tiny", action="store_true", help="for a CPU")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--most", type=float, default=240, help="seconds of all placements")
    parser.add_argument("--placements", nargs="+", choices=PLACEMENTS, default=PLACEMENTS[1:])
    parser.add_argument("--placement", choices=PLACEMENTS, help="one, in this process")
    return parser


if __name__ == "__main__":
    main()
