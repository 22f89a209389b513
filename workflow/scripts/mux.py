"""Put the driving video's sound to the sampled video; the clip is then finished."""

from pathlib import Path

from animate.journal.lock import remove_journal
from animate.stage import run_stage, stage_parser
from animate.video.sound import mux_sound
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    sound = args.sound if timeline.has_sound else None
    mux_sound(args.video, sound, float(timeline.start), args.output)
    remove_journal(args.journal)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "sound", "timeline", "output", "journal"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
