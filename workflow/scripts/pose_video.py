"""Draw the skeleton of every frame at the model's size."""

from pathlib import Path

from animate.config.settings import PoseSettings
from animate.pose.drawing import draw_pose
from animate.pose.keypoints import Keypoints
from animate.pose.retarget import retarget
from animate.pose.smoothing import smooth_keypoints
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter
from animate.video.letterbox import Letterbox
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    keypoints, frame_size = Keypoints.load(args.keypoints), timeline.source_size
    if args.settings.smooth_pose:
        keypoints = smooth_keypoints(keypoints, float(timeline.frame_rate), timeline.shots)
    if args.reference_keypoints:
        reference_size = load_reference(args.reference).shape[1::-1]
        reference = Keypoints.load(args.reference_keypoints)
        keypoints = retarget(keypoints, frame_size, reference, reference_size)
        frame_size = reference_size
    place = Letterbox(frame_size, timeline.model_size)
    parts = (place.points(p) for p in (keypoints.body, keypoints.left_hand, keypoints.right_hand))
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "drawing") as video:
        for body, left_hand, right_hand in zip(*parts, strict=True):
            video.write(draw_pose(timeline.model_size, body, left_hand, right_hand))


if __name__ == "__main__":
    parser = stage_parser(__doc__, PoseSettings)
    for name in ("timeline", "keypoints", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("reference", "reference-keypoints"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="to retarget the pose to")
    run_stage(main, parser)
