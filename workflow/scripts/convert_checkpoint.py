"""Convert the original Wan2.2-Animate checkpoint folder to a Diffusers folder."""

from pathlib import Path

from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write `--output` from `--input`; model_index.json is written last."""
    from animate.weights.convert import convert_checkpoint

    convert_checkpoint(args.input, args.output)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--input", type=Path, required=True, help="original folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    run_stage(main, parser)
