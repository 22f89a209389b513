"""Keep the last frames of a clip, and what they were made from, for a clip that goes on from it."""

from pathlib import Path

from animate.config.job import DRIVING, RESULT
from animate.stage import run_stage, stage_parser
from animate.video.last_frames import save_last_frames

ROLES = (RESULT, "pose", "face", "background", "mask", DRIVING)


def main(args):
    videos = {role: getattr(args, role) for role in ROLES if getattr(args, role)}
    save_last_frames(args.output, videos, args.count)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ROLES:
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="a video of that clip")
    parser.add_argument("--count", type=int, required=True, help="how many frames")
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
