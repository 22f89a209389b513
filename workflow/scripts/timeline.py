"""Decide size, frame rate and the source frame of every output frame."""

import argparse
from pathlib import Path

from animate.config.fields import parse_area
from animate.config.settings import TimelineSettings
from animate.errors import ClipError
from animate.stage import run_stage, stage_parser
from animate.video.reference import load_reference
from animate.video.timeline import Timeline, make_timeline


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
    if args.before:
        check_size(timeline.model_size, Timeline.from_json(args.before).model_size, args)
    timeline.to_json(args.output)


def check_size(own: tuple[int, int], other: tuple[int, int], args: argparse.Namespace) -> None:
    """Raise a `ClipError` where a clip cannot go on from another one's frames, (width, height)."""
    if own != other:
        shape = "reference" if args.frame_shape else "driving video"
        raise ClipError(
            f"column 'continue_from': the frames of {args.clip_before} are {other[0]}x{other[1]},"
            f" but those of this clip {own[0]}x{own[1]}; give both the same resolution_area and a"
            f" {shape} of the same shape"
        )


if __name__ == "__main__":
    parser = stage_parser(__doc__, TimelineSettings)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frame-shape", type=Path, nargs="?", help="image of the wanted shape")
    parser.add_argument(
        "--keep-size", action="store_true", help="the video's frames have the model's size already"
    )
    parser.add_argument("--before", type=Path, nargs="?", help="timeline of the clip before")
    parser.add_argument("--clip-before", nargs="?", help="its name")
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
