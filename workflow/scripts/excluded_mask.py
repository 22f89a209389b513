"""Find in every frame the objects that stay out of the mask."""

from pathlib import Path

from animate.errors import ClipError
from animate.matte import backend_options
from animate.matte.points import ClipPoints
from animate.matte.sam2 import object_masks
from animate.pose.detector_gpu import detector_gpu
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_frames
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    place = Letterbox(timeline.source_size, timeline.model_size)
    frames = map(place.image, read_frames(args.video, timeline))
    excluded = ClipPoints.load(args.points).excluded
    options = backend_options("sam2", args.weights, args.device) | {"shots": timeline.shots}
    with (
        detector_gpu("sam2", args.device),
        VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "mask") as video,
    ):
        covered = 0
        for mask in object_masks(frames, timeline.frame_count, excluded, **options):
            covered += mask.any()
            video.write(mask * 255)
        if not covered:
            raise ClipError(
                f"SAM 2 finds none of {', '.join(excluded)} in {args.video}, which the points"
                " exclude; mark more of it, with a box or several points"
            )


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("video", "timeline", "points", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="as of person_mask.py")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
