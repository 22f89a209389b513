"""Write the record of a whole run: every clip, finished or not, and what made it."""

from pathlib import Path

from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.results.manifest import make_manifest, write_manifest, write_table
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the manifest to `--output`, and its clips to `--table`."""
    table = read_table(args.config.clips, args.config)
    manifest = make_manifest(args.config, table)
    write_manifest(args.output, manifest)
    write_table(args.table, manifest)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument(
        "--config", type=Configuration.model_validate_json, required=True, help="as JSON text"
    )
    for name in ("output", "table"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    run_stage(main, parser)
