"""Choose the sound track of the driving video that the result gets."""

import json
from dataclasses import asdict
from pathlib import Path

from animate.atomic import atomic_output
from animate.config.settings import SoundSettings
from animate.stage import run_stage, stage_parser, warn
from animate.video.sound import choose_sound


def main(args):
    chosen = choose_sound(args.video, args.settings.sound)
    if chosen.note:
        warn(chosen.note)
    with atomic_output(args.output) as temporary:
        temporary.write_text(json.dumps(asdict(chosen)) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__, SoundSettings)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
