"""Draw the skeleton of every frame at the model's size."""

from pathlib import Path

from animate.config.settings import PoseSettings
from animate.editing.outcome import usable_bones
from animate.pose.drawing import draw_pose
from animate.pose.keypoints import Keypoints
from animate.pose.placed import placed_keypoints
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    target = []
    if args.reference_keypoints:
        size = load_reference(args.reference).shape[1::-1]
        bones = usable_bones(args.bones)
        target = [Keypoints.load(args.reference_keypoints), size, bones]
    keypoints = Keypoints.load(args.keypoints)
    placed = placed_keypoints(keypoints, timeline, args.settings.smooth_pose, *target)
    frames = zip(placed.body, placed.left_hand, placed.right_hand, strict=True)
    with VideoWriter(args.output, timeline.model_size, timeline.frame_rate, "drawing") as video:
        for points in frames:
            video.write(draw_pose(timeline.model_size, *points, args.settings))


if __name__ == "__main__":
    parser = stage_parser(__doc__, PoseSettings)
    for name in ("timeline", "keypoints", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("reference", "reference-keypoints"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="to retarget the pose to")
    parser.add_argument("--bones", type=Path, nargs="?", help="of both in a standard pose")
    run_stage(main, parser)
