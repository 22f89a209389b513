"""Write the record that explains a clip's result."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.hashing import file_hash
from animate.results.provenance import make_provenance, read_json
from animate.stage import run_stage, stage_parser


def main(args):
    record = make_provenance(
        clip=args.clip,
        settings=args.settings,
        inputs={
            "driving_video": args.driving_video,
            "reference": args.reference_image,
            **({"continue_from": args.before} if args.before else {}),
            **{column: Path(path) for column, path in args.own_files.items()},
            **{f"lora {number}": path for number, path in enumerate(args.loras, start=1)},
        },
        timeline=read_json(args.timeline),
        sampled=read_json(args.sampled),
        sampling=read_json(args.sampling),
        figures=read_json(args.figures),
        model=args.model.parent,
        weights=args.weights,
        result=args.result,
    )
    if args.edited:
        record["edited"] = {p.stem: {"path": str(p), "sha256": file_hash(p)} for p in args.edited}
    if args.driving_clip:
        record["inputs"]["driving_video"]["clip"] = args.driving_clip
    if args.before:
        record["inputs"]["continue_from"]["clip"] = args.clip_before
    with atomic_output(args.output) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in (
        "driving-video",
        "reference-image",
        "timeline",
        "sampled",
        "sampling",
        "figures",
        "result",
        "model",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, required=True, help="as JSON text")
    parser.add_argument("--driving-clip", nargs="?", help="whose result is the driving video")
    parser.add_argument(
        "--before", type=Path, nargs="?", help="the result that this one goes on from"
    )
    parser.add_argument("--clip-before", nargs="?", help="the clip whose result that is")
    parser.add_argument("--loras", type=Path, nargs="*", default=[])
    parser.add_argument("--own-files", type=json.loads, default={}, help="{column: path}")
    parser.add_argument("--weights", type=json.loads, default={}, help="{sources.json: [part]}")
    parser.add_argument("--edited", type=Path, nargs="*", default=[], help="edited pictures")
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
