"""Write the page of all clips, and one for each, beside the files that they show."""

from pathlib import Path

from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.gallery.pages import write_gallery
from animate.stage import run_stage, stage_parser


def main(args):
    running_since = args.run.stat().st_mtime if args.run.is_file() else None
    write_gallery(args.config, read_table(args.config.clips, args.config), running_since)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument(
        "--config", type=Configuration.model_validate_json, required=True, help="as JSON text"
    )
    parser.add_argument("--run", type=Path, required=True, help="the note of a run that is alive")
    run_stage(main, parser)
