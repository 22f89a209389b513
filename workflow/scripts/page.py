"""Write a clip's page of the report, and its poster for the gallery."""

from pathlib import Path

from animate.atomic import atomic_output
from animate.results.page import render_page
from animate.results.poster import write_poster
from animate.results.provenance import read_json
from animate.stage import run_stage, stage_parser
from animate.video.timeline import Timeline


def main(args):
    page = render_page(
        driving=args.driving,
        timeline=Timeline.from_json(args.timeline),
        pose=args.pose,
        reference=args.reference,
        result=args.result,
        provenance=read_json(args.provenance),
        preview=args.preview,
        metrics=read_json(args.metrics),
        edited=args.edited,
    )
    write_poster(args.poster, args.result)
    with atomic_output(args.output) as temporary:
        temporary.write_text(page, "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    names = ("driving", "timeline", "reference", "result", "provenance")
    for name in (*names, "preview", "metrics", "output", "poster"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--pose", type=Path, nargs="?", help="of a clip that has one")
    parser.add_argument("--edited", type=Path, nargs="*", default=[], help="edited pictures")
    run_stage(main, parser)
