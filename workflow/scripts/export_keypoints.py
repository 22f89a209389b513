"""Write a clip's points as OpenPose JSON, one file for each frame, to correct and give again."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.given.frame_files import write_frames
from animate.given.points import openpose_frames
from animate.pose.keypoints import Keypoints
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline


def main(args):
    frames = openpose_frames(Keypoints.load(args.keypoints), Timeline.from_json(args.timeline))
    count = write_frames(args.folder, frames)
    with atomic_output(args.output) as temporary:
        temporary.write_text(json.dumps({"folder": str(args.folder), "frames": count}) + "\n")


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("keypoints", "timeline", "folder", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
