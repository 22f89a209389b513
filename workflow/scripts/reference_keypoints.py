"""Find body and hands of the reference person, whose proportions may differ from the driver's."""

from pathlib import Path

from animate.config.settings import PoseBackend
from animate.pose.backends import backend, backend_options
from animate.pose.detector_gpu import detector_gpu
from animate.stage import run_stage, stage_parser
from animate.video.reference import load_reference


def main(args):
    name = args.settings.pose_backend
    picture = load_reference(args.reference)
    options = backend_options(name, args.weights, args.device)
    with detector_gpu(name, args.device):
        keypoints = backend(name).detect_picture(picture, **options)
    keypoints.save(args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__, PoseBackend)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="?", help="sources.json beside the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
