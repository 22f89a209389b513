"""Write the driving video without the person."""

from pathlib import Path

from animate.config.settings import MaskGrid
from animate.matte.grid import known_scene
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_frames, read_masks
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    place = Letterbox(timeline.source_size, timeline.model_size)
    frames = map(place.image, read_frames(args.video, timeline))
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate) as video:
        for frame, mask in zip(frames, read_masks(args.mask), strict=True):
            video.write(known_scene(frame, mask, args.settings.mask_grid))


if __name__ == "__main__":
    parser = stage_parser(__doc__, MaskGrid)
    for name in ("video", "timeline", "mask", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
