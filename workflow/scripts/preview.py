"""Write the sheet of a clip's preprocessing, and its figures."""

import json
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output
from animate.config.settings import PreviewSettings
from animate.editing.outcome import Outcome
from animate.pose.keypoints import Keypoints
from animate.results.edited import draw_edited
from animate.results.metrics import (
    cut_metrics,
    mask_metrics,
    pose_metrics,
    without_given,
    worst_spans,
)
from animate.results.preview.findings import find, mask_fit
from animate.results.preview.sheet import Shown, moments, write_sheet
from animate.sampling.segments import segment_starts
from animate.stage import run_stage, stage_parser
from animate.video.files import read_at, read_frames, read_masks, read_masks_at
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline, settings = Timeline.from_json(args.timeline), args.settings
    size, rate, shots = timeline.source_size, float(timeline.frame_rate), timeline.shots
    metrics = cut_metrics(timeline.frame_count, rate, shots)
    keypoints = fit = None
    if args.keypoints:
        keypoints = Keypoints.load(args.keypoints)
        metrics |= pose_metrics(keypoints, size, rate, shots)
    if args.mask:
        fit = mask_fit(timeline, keypoints)
        metrics |= mask_metrics(fit.watch(read_masks(args.mask)))
    metrics = without_given(metrics, args.given)
    edited = None
    if args.bones:
        outcome, points = Outcome.from_json(args.bones), Keypoints.load(args.edited_keypoints)
        edited = draw_edited([load_reference(path) for path in args.edited], points, outcome)
        metrics |= {"edited": outcome.usable, "edit_problems": outcome.problems}
    masked = np.array(fit.areas) > 0 if fit else None
    metrics["worst"] = worst_spans(keypoints, masked, rate, shots)
    segments = segment_starts(timeline.frame_count, shots, settings)
    found = find(timeline, keypoints, fit, args.people, segments, smooth=settings.smooth_face)
    at = moments(found)
    shown = Shown(
        read_frames(args.video, timeline, at),
        *(read_at(path, at) if path else None for path in (args.pose, args.face)),
        *(read_masks_at(path, at) if path else None for path in (args.person_mask, args.mask)),
    )
    write_sheet(args.sheet, args.clip, found, at, shown, edited)
    with atomic_output(args.metrics) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__, PreviewSettings)
    for name in ("video", "timeline", "sheet", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("keypoints", "people", "pose", "face", "person-mask", "mask"):
        parser.add_argument(f"--{name}", type=Path, nargs="?", help="shown where it is given")
    parser.add_argument("--bones", type=Path, nargs="?", help="found in edited pictures")
    parser.add_argument("--edited-keypoints", type=Path, nargs="?", help="found in them")
    parser.add_argument("--edited", type=Path, nargs="*", default=[], help="reference and driver")
    parser.add_argument("--given", nargs="*", default=[], help="columns of the user's own files")
    run_stage(main, parser)
