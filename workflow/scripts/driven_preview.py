"""Write the sheet of a clip whose model sees the driving video, and its figures."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.config.settings import PreviewSettings
from animate.pose.backends import backend
from animate.results.driven_preview import moments, write_sheet
from animate.results.framing import framing_figures, framing_problems, place_of
from animate.results.metrics import cut_metrics, worst_spans
from animate.sampling.segments import segment_starts
from animate.stage import run_stage, stage_parser
from animate.video.files import read_at
from animate.video.framed import bars
from animate.video.reference import load_reference
from animate.video.timeline import Timeline


def main(args):
    timeline = Timeline.from_json(args.timeline)
    rate, shots, size = float(timeline.frame_rate), timeline.shots, timeline.model_size
    finder = backend("mediapipe")
    reference, first = (load_reference(path) for path in (args.reference_frame, args.first))
    places = [place_of(finder.detect_picture(picture), size) for picture in (first, reference)]
    shapes = timeline.source_size, load_reference(args.reference).shape[1::-1]
    figures = framing_figures(bars(timeline.source_size, size), *places)
    problems = framing_problems(figures, *places, shapes)
    metrics = cut_metrics(timeline.frame_count, rate, shots) | figures
    metrics |= {"framing_problems": problems, "worst": worst_spans(None, None, rate, shots)}
    segments = segment_starts(timeline.frame_count, shots, args.settings)
    at = moments(timeline, segments)
    driving = read_at(args.driving, at)
    said = list(problems.values())
    write_sheet(args.sheet, args.clip, timeline, segments, reference, at, driving, said)
    with atomic_output(args.metrics) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__, PreviewSettings)
    names = ("timeline", "driving", "first", "reference", "reference-frame", "sheet", "metrics")
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
