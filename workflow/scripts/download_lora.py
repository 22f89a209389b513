"""Fetch one LoRA file from the hub and link it into the models folder."""

from pathlib import Path

from huggingface_hub import hf_hub_download

from animate.hub.cache import replace_link
from animate.hub.client import explained
from animate.stage import run_stage, stage_parser


def main(args):
    with explained(args.repo, args.file):
        path = hf_hub_download(args.repo, args.file, revision=args.revision)
    replace_link(args.output, path)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    for name in ("repo", "file", "revision"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--output", type=Path, required=True)
    run_stage(main, parser)
