"""Take a user's points as the clip's own."""

from pathlib import Path

from animate.given.points import given_keypoints
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline


def main(args):
    given_keypoints(args.points, Timeline.from_json(args.timeline)).save(args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("points", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
