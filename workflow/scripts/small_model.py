"""Write a small model: the demo's, or a tiny one of either kind with random weights, for tests."""

import logging
from pathlib import Path

from animate.config.models.known import SMALL_MODELS
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the folder named by `--output`."""
    if args.model == "demo":
        from animate.demo.trained import write_demo_model

        write_demo_model(args.output)
    elif args.model == "tiny-2":
        from animate.demo.tiny2 import write_tiny_2

        write_tiny_2(args.output)
    else:
        from animate.demo.model import write_tiny_model

        write_tiny_model(args.output)
    logging.info("%s: %s", args.output, SMALL_MODELS[args.model])


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("model", choices=SMALL_MODELS)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    run_stage(main, parser)
