"""Grow the person's mask, so that the character is not bound to the person's outline."""

from pathlib import Path

from animate.config.settings import MaskSettings
from animate.matte.growth import grow
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_masks, video_info


def main(args):
    info = video_info(args.person_mask)
    growth = {name.removeprefix("mask_"): value for name, value in args.settings}
    with VideoWriter(args.output, info.size, info.frame_rate, "mask") as video:
        for mask in read_masks(args.person_mask):
            video.write(grow(mask, **growth) * 255)


if __name__ == "__main__":
    parser = stage_parser(__doc__, MaskSettings)
    parser.add_argument("--person-mask", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
