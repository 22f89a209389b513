"""Find body, hands and face again, in the result and in the reference image."""

from pathlib import Path

from animate.config.settings import PoseBackend
from animate.pose.backends import backend, backend_options
from animate.pose.detector_gpu import detector_gpu
from animate.stage import run_stage, stage_parser
from animate.video.files import read_video
from animate.video.reference import load_reference


def main(args):
    name = args.settings.pose_backend
    options = backend_options(name, args.weights, args.device)
    with detector_gpu(name, args.device):
        frames = read_video(args.result)
        result = backend(name).detect(frames, person="largest", **options)
        reference = backend(name).detect_picture(load_reference(args.reference), **options)
    # Results and references without anybody are judged, too.
    result.save(args.output)
    reference.save(args.reference_output)


if __name__ == "__main__":
    parser = stage_parser(__doc__, PoseBackend)
    for name in ("result", "reference", "output", "reference-output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="?", help="sources.json beside the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
