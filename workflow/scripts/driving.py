"""Write the driving video as the pages play it: at the result's rate and size, and as a poster."""

from pathlib import Path

from animate.results.poster import write_poster
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_frames
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    place = Letterbox(timeline.source_size, timeline.model_size)
    # As good as the result, so that what is compared is not the compression.
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "result") as video:
        for frame in read_frames(args.video, timeline):
            video.write(place.image(frame))
    write_poster(args.poster, args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "timeline", "output", "poster"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
