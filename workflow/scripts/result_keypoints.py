"""Find body, hands and face again, in the result and in the reference image."""

from pathlib import Path

from animate.pose.backends import backend
from animate.stage import run_stage, stage_parser
from animate.video.files import OwnFrames
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    # Whatever found the driver's points: figures of all clips are then of one measure.
    finder = backend("mediapipe")
    shots = Timeline.from_json(args.timeline).shots
    result = finder.detect(OwnFrames(args.result), shots=shots)
    reference = finder.detect_picture(load_reference(args.reference))
    # Results and references without anybody are judged, too.
    result.save(args.output)
    reference.save(args.reference_output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("timeline", "result", "reference", "output", "reference-output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
