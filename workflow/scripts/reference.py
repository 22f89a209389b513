"""Write the reference image as the sampler reads it."""

from pathlib import Path

from animate.stage import run_stage, stage_parser
from animate.video.reference import write_reference

if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    run_stage(lambda args: write_reference(args.image, args.output), parser)
