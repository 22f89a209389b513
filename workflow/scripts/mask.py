"""Grow the person's mask, so that the character is not bound to the outline; leave objects out."""

from itertools import repeat
from pathlib import Path

from animate.config.settings import MaskSettings
from animate.matte.grid import covered_cells, whole_cells
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
    objects = read_masks(args.excluded) if args.excluded else repeat(None)
    by_cells = settings.mask_grid == "cells"
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "mask") as video:
        # `repeat` has no end.
        for mask, kept in zip(masks, objects, strict=False):
            grown = grow(
                mask,
                iterations=settings.mask_iterations,
                kernel=settings.mask_kernel,
                w_len=settings.mask_w_len,
                h_len=settings.mask_h_len,
            )
            if by_cells:
                grown = whole_cells(grown)
            if kept is not None:
                grown = grown & (1 - (covered_cells(kept) if by_cells else kept))
            video.write(255 * grown)


if __name__ == "__main__":
    parser = stage_parser(__doc__, MaskSettings)
    for name in ("timeline", "person-mask", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--excluded", type=Path, nargs="?", help="mask of what stays as it is")
    run_stage(main, parser)
