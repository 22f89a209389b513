"""Encode what a picture editor is asked for, once for all clips."""

from pathlib import Path

from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the embeddings to `--output`."""
    # Imported here so that a wrong call does not wait for torch.
    from animate.editing.editor import write_prompts

    write_prompts(args.output, args.model)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the editor")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors file to write")
    run_stage(main, parser)
