"""The tables of config/README.md and the JSON schema for editors, made from the declarations."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from animate.config.configuration import ClusterConfig, Configuration
from animate.config.fields import allowed_values
from animate.config.own_files.declared import OwnFiles
from animate.config.settings import ClipSettings, Lora, Requirements
from animate.config.table import Columns

DECLARATIONS: dict[str, type[BaseModel]] = {
    "columns": Columns,
    "own files": OwnFiles,
    "settings": ClipSettings,
    "lora": Lora,
    "require": Requirements,
    "keys": Configuration,
    "cluster": ClusterConfig,
}
# Too long for a table.
LONGEST_DEFAULT = 40


def with_tables(text: str, presets: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown text whose marked tables are made anew.

    A table stands between the lines `<!-- NAME -->` and `<!-- end -->`; it is a name of
    `DECLARATIONS`, or "presets", whose settings are given by their names.
    """

    def table(match: re.Match) -> str:
        name = match[1]
        rows = preset_rows(presets) if name == "presets" else declared_rows(DECLARATIONS[name])
        return "\n".join([f"<!-- {name} -->", *rows, "<!-- end -->"])

    return re.sub(r"<!-- ([\w ]+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def declared_rows(model: type[BaseModel]) -> Iterator[str]:
    """Yield the lines of a table that describes the fields of a declaration."""
    required = all(field.is_required() for field in model.model_fields.values())
    yield f"| key | meaning | allowed |{'' if required else ' default |'}"
    yield "|---|---|---|" + ("" if required else "---|")
    for name, field in model.model_fields.items():
        row = f"| `{name}` | {field.description} | {allowed_values(field)} |"
        yield row if required else f"{row} {_shown(field.default)} |"


def preset_rows(presets: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table of presets and the settings that they state."""
    stated = {name for values in presets.values() for name in values}
    names = [name for name in ClipSettings.model_fields if name in stated]
    yield f"| preset | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for preset, values in presets.items():
        yield f"| {preset} | {' | '.join(_shown(values.get(name)) for name in names)} |"


def editor_schema() -> str:
    """Return the JSON schema of config.yaml, by which editors complete and check it."""
    return json.dumps(Configuration.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, BaseModel) or value in ("", {}):
        return ""
    if isinstance(value, tuple):
        return "none"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST_DEFAULT else "the official one"
