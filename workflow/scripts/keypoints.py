"""Number everybody in sight, and find body, hands and face of the driving person."""

from pathlib import Path

from animate.config.settings import KeypointSettings
from animate.errors import ClipError
from animate.pose.backends import backend, backend_options
from animate.pose.detector_gpu import detector_gpu
from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import shot_slices
from animate.pose.people.choice import Crowd
from animate.pose.plausibility import drop_nobodies
from animate.stage import run_stage, stage_parser, warn
from animate.video.files import DrivingFrames
from animate.video.timeline import Timeline


def main(args):
    name = args.settings.pose_backend
    timeline = Timeline.from_json(args.timeline)
    frames = DrivingFrames(args.video, timeline)
    options = backend_options(name, args.weights, args.device)
    options |= {"shots": timeline.shots}
    with detector_gpu(name, args.device):
        crowd = Crowd(backend(name).people(frames, **options), timeline)
        person = crowd.choose(args.settings.person)
        keypoints = backend(name).detect(frames, person=person, **options)
    rate, shots = float(timeline.frame_rate), timeline.shots
    keypoints = drop_nobodies(keypoints, timeline.source_size, rate, shots)
    if not keypoints.found.any():
        raise ClipError(
            f"pose_backend {name} finds no person in driving video {args.video}; use a video that"
            " shows one larger or more clearly, or another pose_backend"
        )
    for shot in shot_slices(shots, len(keypoints)):
        if not keypoints.found[shot].any():
            warn(
                f"pose_backend {name} finds no person from {timeline.clock(shot.start, shot.stop)}"
                f" of the clip, in {args.video}; these frames have neither pose nor mask"
            )
    crowd.save(args.people)
    bridge_gaps(keypoints, rate, shots).save(args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__, KeypointSettings)
    for name in ("video", "timeline", "people", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="?", help="sources.json beside the weights")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run_stage(main, parser)
