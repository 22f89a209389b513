"""Take a user's video of the mask as the clip's own."""

from pathlib import Path

from animate.config.settings import MaskGrid
from animate.errors import ClipError
from animate.given.video import open_given
from animate.matte.grid import whole_cells
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter
from animate.video.timeline import Timeline


def main(args):
    timeline, masked = Timeline.from_json(args.timeline), False
    given = open_given("mask_video", args.video, timeline)
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "mask") as video:
        for mask in given.masks():
            masked |= bool(mask.any())
            video.write(255 * (whole_cells(mask) if args.settings.mask_grid == "cells" else mask))
        if not masked:
            raise ClipError(
                f"mask_video {args.video} is dark in every frame; give one that is white where the"
                " character is to be"
            )


if __name__ == "__main__":
    parser = stage_parser(__doc__, MaskGrid)
    for name in ("video", "timeline", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
