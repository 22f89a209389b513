"""Put the driving video's sound to the sampled video; the clip is then finished."""

import json
from pathlib import Path

from animate.journal.lock import remove_journal
from animate.stage import run_stage, stage_parser, warn
from animate.video.sound import mux_sound
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    track = json.loads(args.sound.read_text("utf-8"))["track"]
    source = args.driving_video if track else None
    lost = mux_sound(args.video, source, float(timeline.start), args.output, track=track or 1)
    if lost:
        warn(f"the sound of {source} is damaged at {lost[0]:.1f} s: silent there")
    if not args.keep_journal:
        remove_journal(args.journal)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "driving-video", "sound", "timeline", "output", "journal"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--keep-journal", action="store_true", help="another stage reads it")
    run_stage(main, parser)
