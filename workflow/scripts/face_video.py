"""Crop the driving person's face from every frame."""

from pathlib import Path

from animate.config.settings import FaceSettings
from animate.pose.face import CROP_SIZE, crop_face, face_track
from animate.pose.keypoints import Keypoints
from animate.stage import run_stage, stage_parser
from animate.video.files import VideoWriter, read_frames
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    keypoints, smooth = Keypoints.load(args.keypoints), args.settings.smooth_face
    size, rate, shots = timeline.source_size, timeline.frame_rate, timeline.shots
    boxes = face_track(keypoints, size, float(rate), shots, smooth=smooth)
    with VideoWriter(args.output, (CROP_SIZE, CROP_SIZE), timeline.frame_rate) as video:
        for frame, box in zip(read_frames(args.video, timeline), boxes, strict=True):
            video.write(crop_face(frame, box))


if __name__ == "__main__":
    parser = stage_parser(__doc__, FaceSettings)
    for name in ("video", "timeline", "keypoints", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
