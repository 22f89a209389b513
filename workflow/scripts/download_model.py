"""Fetch, verify and link the parts of models that the clips need."""

from animate.hub.arguments import installations, models_parser
from animate.stage import run_stage


def main(args) -> None:
    """Make every folder complete; with `--force` fetch its files again."""
    for installation in installations(args):
        installation.install(args.force)


if __name__ == "__main__":
    parser = models_parser(__doc__)
    parser.add_argument("--force", action="store_true", help="fetch what is there, too")
    run_stage(main, parser)
