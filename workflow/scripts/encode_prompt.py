"""Encode one prompt with the text encoder of a model folder."""

import logging
from pathlib import Path

from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the embedding of the text to `--output`."""
    # Imported here so that a wrong call does not wait for torch.
    from animate.model.text import encode_prompt, save_prompt

    text = args.text_file.read_text(encoding="utf-8") if args.text_file else args.text
    save_prompt(args.output, encode_prompt(args.model, text, warn, clean=not args.as_given))


def warn(line: str) -> None:
    """Write a warning to the log and, by standard output, to the console."""
    logging.warning(line)
    print(f"warning: {line}", flush=True)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors file to write")
    parser.add_argument("--as-given", action="store_true", help="put nothing in order before")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="the prompt")
    source.add_argument("--text-file", type=Path, help="UTF-8 file with the prompt")
    run_stage(main, parser)
