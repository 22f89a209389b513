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
        check_before(timeline, Timeline.from_json(args.before), args)
    timeline.to_json(args.output)


def check_before(own: Timeline, before: Timeline, args: argparse.Namespace) -> None:
    """Raise a `ClipError` where a clip cannot go on from the last frames of another one."""
    name, count = args.clip_before, args.conditioning_frames
    problem = ""
    if own.model_size != before.model_size:
        shape = "reference" if args.frame_shape else "driving video"
        sizes = ("{}x{}".format(*one.model_size) for one in (before, own))
        problem = "the frames of {} are {}, but those of this clip {}".format(name, *sizes)
        problem += f"; give both the same resolution_area and a {shape} of the same shape"
    elif own.frame_rate != before.frame_rate:
        problem = f"{name} has {before.frame_rate} frames per second, but this clip"
        problem += f" {own.frame_rate}; set fps of this clip to {before.frame_rate}"
    elif count and before.frame_count < count:
        problem = f"{name} has {before.frame_count} frames, fewer than the {count} conditioning"
        problem += " frames: go on from a longer clip, or set conditioning_frames lower"
    if problem:
        raise ClipError(f"column 'continue_from': {problem}")


if __name__ == "__main__":
    parser = stage_parser(__doc__, TimelineSettings)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--frame-shape", type=Path, nargs="?", help="image of the wanted shape")
    parser.add_argument(
        "--keep-size", action="store_true", help="the video's frames have the model's size already"
    )
    parser.add_argument("--before", type=Path, nargs="?", help="timeline of the clip before")
    parser.add_argument("--clip-before", nargs="?", help="its name")
    parser.add_argument("--conditioning-frames", type=int, nargs="?", help="that it goes on from")
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
