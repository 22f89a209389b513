"""Let a clip be sampled unless its verdict is bad."""

from pathlib import Path

from animate.errors import ClipError
from animate.results.verdict import BAD, Verdict
from animate.stage import run_stage, stage_parser


def main(args):
    verdict = Verdict.from_json(args.verdict)
    if verdict.state == BAD:
        sentence, *others = verdict.sentences
        more = f" ({len(others)} more in {args.verdict})" if others else ""
        raise ClipError(f"{sentence.rstrip('.')}; require: none samples it as it is{more}")


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--verdict", type=Path, required=True)
    run_stage(main, parser)
