"""Write reference and driving video side by side as the model sees them, with the clip's sound."""

import json
from pathlib import Path

from animate.config.settings import PreviewSettings
from animate.results.driven_preview import write_film
from animate.sampling.segments import segment_starts
from animate.stage import run_stage, stage_parser
from animate.video.files import read_video
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    segments = segment_starts(timeline.frame_count, timeline.shots, args.settings)
    track = json.loads(args.sound.read_text("utf-8"))["track"]
    reference, driving = load_reference(args.reference_frame), read_video(args.driving)
    sound = (args.sound_source, track) if track else (None, 1)
    write_film(args.output, timeline, segments, reference, driving, *sound)


if __name__ == "__main__":
    parser = stage_parser(__doc__, PreviewSettings)
    for name in ("timeline", "driving", "reference-frame", "sound", "sound-source", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
