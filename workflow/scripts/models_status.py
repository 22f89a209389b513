"""Print what the models have on disk."""

from animate.hub.arguments import installations, models_parser
from animate.hub.status import status_rows, status_table
from animate.stage import run_stage


def main(args) -> None:
    """Print one row per declared part, needed or not."""
    needed = dict(args.needs)
    rows = [
        row
        for installation in installations(args, every_part=True)
        for row in status_rows(installation, needed.get(installation.name, []))
    ]
    print(status_table(rows))


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
