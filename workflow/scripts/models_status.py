"""Print what the models have on disk."""

from animate.hub.arguments import declared, installations, models_parser, needed_parts
from animate.hub.status import status_rows, table_text
from animate.stage import run_stage


def main(args) -> None:
    """Print one row per declared part, needed or not."""
    models = declared(args).models.values()
    every_part = {model.name: [part.name for part in model.parts] for model in models}
    needed = needed_parts(args)
    rows = [
        row
        for installation in installations(args, every_part)
        for row in status_rows(installation, needed.get(installation.model.name, []))
    ]
    print(table_text(rows))


if __name__ == "__main__":
    run_stage(main, models_parser(__doc__))
