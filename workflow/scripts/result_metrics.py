"""Write figures about a result: pose, likeness, background, joins, drift, flicker, faces."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.config.settings import ResultSettings
from animate.editing.outcome import usable_bones
from animate.model.unused_libraries import spare_imports
from animate.pose.keypoints import Keypoints
from animate.pose.placed import placed_keypoints
from animate.quality.figures import (
    background_figures,
    face_figures,
    pose_figures,
    steadiness_figures,
)
from animate.sampling.segments import sampled_shots, segment_starts
from animate.stage import run_stage, stage_parser
from animate.video.files import read_masks, read_video
from animate.video.letterbox import Letterbox
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline, settings = Timeline.from_json(args.timeline), args.settings
    rate, size = float(timeline.frame_rate), timeline.model_size
    result = Keypoints.load(args.result_keypoints)
    picture = load_reference(args.reference)
    found = Keypoints.load(args.reference_keypoints)
    figures = {}
    if "pose" in args.compared:
        driver = Keypoints.load(args.keypoints)
        target = []
        if args.drawn_reference:
            wanted = Keypoints.load(args.drawn_reference)
            target = [wanted, picture.shape[1::-1], usable_bones(args.bones)]
        drawn = placed_keypoints(driver, timeline, settings.smooth_pose, *target)
        figures |= pose_figures(drawn.body, Letterbox(size, size).points(result.body), rate)
    if "face" in args.compared:
        driver = Keypoints.load(args.keypoints)
        figures |= face_figures(driver, timeline.source_size, result, size)
    firsts = segment_starts(timeline.frame_count, timeline.shots, settings)
    shots = sampled_shots(timeline.shots, timeline.frame_count, settings.cuts)
    figures |= steadiness_figures(read_video(args.result), firsts, rate, shots)
    if args.mask:
        frames = (read_video(args.result), read_video(args.background), read_masks(args.mask))
        figures |= background_figures(zip(*frames, strict=True), rate)
    spare_imports()
    # Imported here because it takes seconds.
    from animate.quality.likeness import likeness_figures, load_encoder

    encoder = load_encoder(args.model.parent)
    figures |= likeness_figures(encoder, picture, found, args.result, result)
    with atomic_output(args.output) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__, ResultSettings)
    for name in (
        *("timeline", "result", "result-keypoints"),
        *("reference", "reference-keypoints", "model", "output"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("background", "mask"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="of replacement")
    parser.add_argument("--keypoints", type=Path, nargs="?", help="of the driving person")
    parts = ("pose", "face")
    parser.add_argument("--compared", nargs="*", choices=parts, help="what the keypoints made")
    parser.add_argument("--drawn-reference", type=Path, nargs="?", help="what it was retargeted to")
    parser.add_argument("--bones", type=Path, nargs="?", help="of both in a standard pose")
    run_stage(main, parser)
