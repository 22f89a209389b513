"""Write a tiny model with random weights, for tests and demonstrations."""

import logging
from pathlib import Path

from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the folder named by `--output`."""
    from animate.demo.model import write_tiny_model

    write_tiny_model(args.output, args.seed)
    logging.info("%s: tiny model with random weights; its output is noise by design", args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    run_stage(main, parser)
