"""Say whether what was prepared of a clip is worth sampling, and what would make it better."""

from pathlib import Path

from animate.config.settings import VerdictSettings
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import limb_ratios
from animate.results.provenance import read_json
from animate.results.verdict import judge
from animate.stage import run_stage, stage_parser, tell
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline, limbs = Timeline.from_json(args.timeline), {}
    if args.keypoints:
        driver, size = Keypoints.load(args.keypoints), timeline.source_size
        reference = Keypoints.load(args.reference_keypoints)
        reference_size = load_reference(args.reference).shape[1::-1]
        limbs = limb_ratios(driver, size, reference, reference_size)
    verdict = judge(read_json(args.metrics), args.settings, timeline, limbs, args.given)
    verdict.to_json(args.output)
    tell(" ".join([f"verdict: {verdict.state}.", *verdict.sentences]))


if __name__ == "__main__":
    parser = stage_parser(__doc__, VerdictSettings)
    for name in ("timeline", "metrics", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("keypoints", "reference", "reference-keypoints"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="to compare limbs")
    parser.add_argument("--given", nargs="*", default=[], help="columns of the user's own files")
    run_stage(main, parser)
