"""Place the user's points and boxes on the frames of the clip."""

from pathlib import Path

from animate.config.own_files.points import MaskPoints, read_points
from animate.errors import ClipError
from animate.matte.points import save_marks
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline


def main(args):
    marks = read_points(args.points)
    if not isinstance(marks, MaskPoints):
        raise ClipError(f"points {args.points}: {'; '.join(map(str, marks))}")
    save_marks(args.output, args.points, marks, Timeline.from_json(args.timeline))


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("points", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
