"""Pin what the declared branches and tags mean now, and print what changed."""

from animate.hub.arguments import declared, models_parser
from animate.hub.pin import update_pins
from animate.stage import run_stage


def main(args) -> None:
    """Rewrite the lock file."""
    declaration = declared(args)
    parts = [(declaration.models[name].parts, chosen) for name, chosen in args.needs]
    needed = {found[part].repository for found, chosen in parts for part in chosen}
    for line in update_pins(declaration, args.lock_file, needed):
        print(line, flush=True)


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
