"""Write the reference image in the model's frame, as a driven model sees it."""

from pathlib import Path

from PIL import Image

from animate.atomic import atomic_output
from animate.stage import run_stage, stage_parser
from animate.video.framed import REFERENCE, framed
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    size = Timeline.from_json(args.timeline).model_size
    picture = framed(load_reference(args.reference), size, REFERENCE)
    with atomic_output(args.output) as temporary:
        Image.fromarray(picture).save(temporary)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("reference", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
