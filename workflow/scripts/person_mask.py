"""Find the driving person's outline in every frame."""

from pathlib import Path

from animate.config.settings import PersonMaskSettings
from animate.errors import ClipError
from animate.matte import backend, backend_options
from animate.matte.points import ClipPoints
from animate.matte.through_time import carried
from animate.pose.detector_gpu import detector_gpu
from animate.pose.gaps import BRIDGED_SECONDS
from animate.pose.keypoints import Keypoints, in_sight
from animate.stage import run_stage, stage_parser, warn
from animate.video.files import VideoWriter, read_frames
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    place = Letterbox(timeline.source_size, timeline.model_size)
    keypoints = in_sight(Keypoints.load(args.keypoints))
    body = place.points(keypoints.body)
    frames = map(place.image, read_frames(args.video, timeline))
    name = args.settings.mask_backend
    options = backend_options(name, args.weights, args.device)
    if args.points:
        options["marked"] = ClipPoints.load(args.points).person
        for frame in options["marked"]:
            if not keypoints.shown[frame]:
                warn(
                    f"points mark the person from {timeline.clock(frame, frame + 1)} of the clip,"
                    " where pose_backend finds nobody; frames without a pose have no mask"
                )
    with (
        detector_gpu(name, args.device),
        VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "mask") as video,
    ):
        masked = 0
        found = backend(name).masks(frames, body, shots=timeline.shots, **options)
        longest = int(BRIDGED_SECONDS * timeline.frame_rate)
        for mask in carried(found, body, keypoints.found, timeline.shots, longest):
            masked += mask.any()
            video.write(mask * 255)
        if not masked:
            raise ClipError(
                f"mask_backend {name} finds no outline of the person in any frame of {args.video};"
                " use another mask_backend, or mode animate"
            )


if __name__ == "__main__":
    parser = stage_parser(__doc__, PersonMaskSettings)
    for name in ("video", "timeline", "keypoints", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--points", type=Path, nargs="?", help="the user's points, by frames")
    parser.add_argument("--weights", type=Path, nargs="?", help="sources.json beside the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
