"""Write the driving video as a driven model sees it, and its first frame as a picture."""

from itertools import chain
from pathlib import Path

from PIL import Image

from animate.atomic import atomic_output
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_frames
from animate.video.framed import DRIVING, framed
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    size = timeline.model_size
    frames = (framed(frame, size, DRIVING) for frame in read_frames(args.video, timeline))
    first = next(frames)
    with atomic_output(args.first) as temporary:
        Image.fromarray(first).save(temporary)
    with VideoWriter(args.output, size, timeline.frame_rate) as video:
        for frame in chain([first], frames):
            video.write(frame)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "timeline", "output", "first"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
