"""Find body, hands and face of the driving person in every frame."""

from pathlib import Path

from animate.pose import backend
from animate.stage import run_stage, stage_parser
from animate.timeline import Timeline
from animate.video import read_frames


def main(args):
    frames = read_frames(args.video, Timeline.from_json(args.timeline))
    backend(args.settings["pose_backend"]).detect(frames).save(args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
