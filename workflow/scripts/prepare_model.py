"""Copy a model's transformer into the types that the sampler keeps, where that saves reading."""

import json
import logging
from pathlib import Path

from animate.atomic import atomic_output
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Make the copy if it pays, and write to `--output` what was done."""
    from animate.weights.prepare import prepare

    done = prepare(args.model, args.precision)
    logging.info(done)
    with atomic_output(args.output) as path:
        path.write_text(json.dumps({"done": done}, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--precision", choices=("bf16", "fp8"), default="bf16")
    parser.add_argument("--output", type=Path, required=True, help="file to write the outcome to")
    run_stage(main, parser)
