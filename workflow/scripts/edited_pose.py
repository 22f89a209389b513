"""Measure the bones of both people in the edited pictures, and say when these are of no use."""

import logging
from pathlib import Path

from animate.config.settings import PoseBackend
from animate.editing.driving_frame import best_frame
from animate.editing.outcome import UNEDITED, Outcome, judge_pictures
from animate.pose.backends import backend, backend_options
from animate.pose.detector_gpu import detector_gpu
from animate.pose.keypoints import Keypoints, at_frame, joined, stack
from animate.stage import run_stage, stage_parser, warn
from animate.video.reference import load_reference


def main(args):
    keypoints = Keypoints.load(args.keypoints)
    frame = best_frame(keypoints)
    if frame is None:
        edited, outcome = stack([None, None], [0, 0]), Outcome.unedited()
        warn(f"{UNEDITED}. The clip is retargeted as with retarget: basic")
    else:
        edited, outcome = measure(keypoints, frame, args)
        for which, problem in outcome.problems.items():
            warn(
                f"the edited picture of the {which} cannot be measured: {problem}. The clip is"
                " retargeted as with retarget: basic; look at retarget_reference.png and"
                " retarget_driver.png, and try another retarget_seed"
            )
        logging.info("sizes of the person in the edits, against before: %s", outcome.sizes)
    edited.save(args.output)
    outcome.to_json(args.bones)


def measure(keypoints, frame, args):
    name = args.settings.pose_backend
    pictures = [load_reference(path) for path in (args.edited_reference, args.edited_driver)]
    options = backend_options(name, args.weights, args.device)
    with detector_gpu(name, args.device):
        edited = joined([backend(name).detect_picture(p, **options) for p in pictures])
    reference_size, driver_size = (picture.shape[1::-1] for picture in pictures)
    before = at_frame(keypoints, frame), driver_size
    reference = Keypoints.load(args.reference_keypoints), reference_size
    return edited, judge_pictures(frame, *before, *reference, edited)


if __name__ == "__main__":
    parser = stage_parser(__doc__, PoseBackend)
    for name in (
        *("edited-reference", "edited-driver", "keypoints", "reference-keypoints"),
        *("output", "bones"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="?", help="sources.json beside the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
