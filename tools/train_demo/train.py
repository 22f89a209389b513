"""Train the demo model, stage by stage; README.md beside this file says how long each takes.

PYTHONPATH=workflow/scripts python tools/train_demo/train.py STAGE FOLDER --seconds 300
"""

import argparse
from pathlib import Path

from animate.config.settings import ClipSettings
from schedule import Run


def main(arguments: argparse.Namespace) -> None:
    """Run one stage; it leaves its weights in the folder."""
    # Imported here because the processes that make scenes import this file, and need none of it.
    import torch

    folder, count, prompt = arguments.folder, arguments.scenes, arguments.prompt
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    run = Run(arguments.seconds, *arguments.part)
    if arguments.stage == "vae":
        from train_vae import train_vae

        train_vae(folder, run, count, device, arguments.graph)
    elif arguments.stage == "motion":
        from train_motion import train_motion

        train_motion(folder, run, count, device)
    elif arguments.stage == "transformer":
        from train_transformer import train_transformer

        train_transformer(folder, run, count, device, prompt, arguments.graph)
    elif arguments.stage == "export":
        from export import export

        export(folder)
    else:
        from check import check

        check(folder, device, prompt)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("vae", "motion", "transformer", "check", "export"))
    parser.add_argument("folder", type=Path, help="with photograph.npz; weights go there")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument(
        "--part", type=float, nargs=2, default=(0, 1), help="of the stage, say 0 0.5 and 0.5 1"
    )
    parser.add_argument("--scenes", type=int, default=400, help="of each mode")
    parser.add_argument("--prompt", default=ClipSettings().prompt)
    parser.add_argument(
        "--no-graph", dest="graph", action="store_false", help="start each operation anew"
    )
    main(parser.parse_args())
