"""Decide size, frame rate and the source frame of every output frame."""

from pathlib import Path

from animate.config.fields import parse_area
from animate.config.settings import TimelineSettings
from animate.stage import run_stage, stage_parser
from animate.video.reference import load_reference
from animate.video.timeline import make_timeline


def main(args):
    settings = args.settings
    shape = load_reference(args.frame_shape).shape[1::-1] if args.frame_shape else None
    timeline = make_timeline(
        args.video,
        resolution_area=parse_area(settings.resolution_area),
        fps=settings.fps,
        start=settings.start,
        end=settings.end,
        frame_shape=shape,
        keep_size=args.keep_size,
    )
    timeline.to_json(args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__, TimelineSettings)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frame-shape", type=Path, nargs="?", help="image of the wanted shape")
    parser.add_argument(
        "--keep-size", action="store_true", help="the video's frames have the model's size already"
    )
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
