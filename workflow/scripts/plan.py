"""Print and write what each clip of the table will take, and which clips cannot run."""

from pathlib import Path

from animate.config.configuration import Configuration
from animate.config.table import read_table
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Write the plan to `--output` and print it."""
    from animate.cluster.nodes import ask_nodes
    from animate.cluster.plan import aligned, plan_clips, table_rows, write_plan
    from animate.cluster.site import Site

    config = args.config
    table = read_table(config.clips, config)
    site = Site.of(config)
    nodes = ask_nodes() if site.check_nodes else []
    options = args.auto_gpus, nodes, args.in_a_row
    lines = plan_clips(table, config.results, site, *options)
    rows = table_rows(list(lines))
    write_plan(args.output, rows)
    print(aligned(rows))


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument(
        "--config", type=Configuration.model_validate_json, required=True, help="as JSON text"
    )
    parser.add_argument("--auto-gpus", type=int, default=1, help="GPUs of clips with gpus: auto")
    parser.add_argument(
        "--in-a-row", type=float, default=1, help="like clips that are sampled with one load"
    )
    parser.add_argument("--output", type=Path, required=True, help=".tsv file to write")
    run_stage(main, parser)
