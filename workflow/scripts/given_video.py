"""Take a user's video of the pose or of the face as the clip's own."""

from pathlib import Path

from animate.given.video import open_given
from animate.pose.face import CROP_SIZE
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline

QUALITY = {"pose_video": "drawing", "face_video": "picture"}


def main(args):
    face = CROP_SIZE if args.column == "face_video" else None
    given = open_given(args.column, args.video, Timeline.from_json(args.timeline), face)
    given.write(args.output, QUALITY[args.column])


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--column", choices=QUALITY, required=True)
    for name in ("video", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
