"""Make the demo's driving video, reference image and table."""

from pathlib import Path

from animate.demo.clips import write_demo
from animate.stage import run_stage, stage_parser

if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("folder", type=Path)
    run_stage(lambda args: write_demo(args.folder), parser)
