"""Write the contact sheet of a clip's preprocessing, and its figures."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.config.settings import FaceSettings
from animate.pose.face import face_track
from animate.pose.keypoints import Keypoints
from animate.results.metrics import mask_metrics, pose_metrics
from animate.results.preview import moments, write_preview
from animate.stage import run_stage, stage_parser
from animate.video.files import read_at, read_frames, read_masks, read_masks_at
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    keypoints, smooth = Keypoints.load(args.keypoints), args.settings.smooth_face
    size, rate, shots = timeline.source_size, timeline.frame_rate, timeline.shots
    boxes = face_track(keypoints, size, float(rate), shots, smooth=smooth)
    frames = read_frames(args.video, timeline)
    shown = moments(timeline.frame_count, shots)
    masks = [read_masks_at(mask, shown) for mask in (args.person_mask, args.mask) if mask]
    poses = read_at(args.pose, shown)
    write_preview(args.sheet, frames, keypoints, boxes, poses, masks, shots)
    metrics = pose_metrics(keypoints, size, float(rate), shots)
    if args.mask:
        metrics |= mask_metrics(read_masks(args.mask))
    with atomic_output(args.metrics) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__, FaceSettings)
    for name in ("video", "timeline", "keypoints", "pose", "sheet", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("person-mask", "mask"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="of replacement")
    run_stage(main, parser)
