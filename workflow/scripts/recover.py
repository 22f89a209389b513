"""Cancel the jobs that a killed run of this folder left in the queue, and remove its lock."""

from pathlib import Path

from animate.cluster.recovery import recover
from animate.stage import run_stage, stage_parser


def main(args) -> None:
    """Recover the working directory, unless a run is alive there."""
    recover(Path.cwd(), args.note, print)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--note", type=Path, required=True, help="what the run wrote at its start")
    run_stage(main, parser)
