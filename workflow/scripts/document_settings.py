"""Write the tables of config/README.md and config/config.schema.json from the declarations."""

from pathlib import Path

import yaml

from animate.atomic import atomic_output
from animate.config.configuration import Configuration
from animate.config.documents import editor_schema, with_tables
from animate.config.resolve import presets_of

CONFIG = Path(__file__).parents[2] / "config"


def documents() -> dict[Path, str]:
    """Return what each generated file must hold."""
    config = Configuration(**yaml.safe_load((CONFIG / "config.yaml").read_text("utf-8")))
    readme = CONFIG / "README.md"
    return {
        readme: with_tables(readme.read_text("utf-8"), presets_of(config)),
        CONFIG / "config.schema.json": editor_schema(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        with atomic_output(path) as temporary:
            temporary.write_text(text, "utf-8")
