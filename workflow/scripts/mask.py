"""Grow the person's mask, so that the character is not bound to the person's outline."""

from pathlib import Path

from animate.config.settings import MaskSettings
from animate.matte.grid import whole_cells
from animate.matte.growth import grow
from animate.matte.through_time import steady
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_masks
from animate.video.timeline import Timeline


def main(args):
    timeline, settings = Timeline.from_json(args.timeline), args.settings
    masks = read_masks(args.person_mask)
    if settings.mask_steady:
        masks = steady(masks, timeline.shots)
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "mask") as video:
        for mask in masks:
            grown = grow(
                mask,
                iterations=settings.mask_iterations,
                kernel=settings.mask_kernel,
                w_len=settings.mask_w_len,
                h_len=settings.mask_h_len,
            )
            video.write(255 * (whole_cells(grown) if settings.mask_grid == "cells" else grown))


if __name__ == "__main__":
    parser = stage_parser(__doc__, MaskSettings)
    for name in ("timeline", "person-mask", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
