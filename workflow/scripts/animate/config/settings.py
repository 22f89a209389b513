"""Which value of a setting holds for a clip: from the schema, the config, a preset or its row."""

import os.path
from pathlib import Path
from typing import Any

import yaml

from animate.config.schema import Mistake, find_mistakes, load_schema, nearest_name, schema_defaults


def complete_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return `config` with the schema's defaults for every key that is absent."""
    return schema_defaults("config") | {k: v for k, v in config.items() if v is not None}


def config_mistakes(config: dict[str, Any]) -> list[Mistake]:
    """Return every mistake of a configuration, unknown presets included."""
    mistakes = list(find_mistakes("config", config))
    preset = (config.get("defaults") or {}).get("preset")
    if isinstance(preset, str):
        mistakes += preset_mistakes(preset, config, "defaults.preset")
    for name, group in (config.get("presets") or {}).items():
        if isinstance(group, dict) and "preset" in group:
            mistakes.append(Mistake(f"presets.{name}.preset", "a preset cannot name a preset"))
    return mistakes


def preset_mistakes(preset: str, config: dict[str, Any], key: str = "preset") -> list[Mistake]:
    """Return the mistake of naming a preset that the configuration does not have."""
    presets = list(config.get("presets") or {})
    if preset in presets:
        return []
    return [
        Mistake(key, f"'{preset}' is no preset of config.yaml; {nearest_name(preset, presets)}")
    ]


def resolve(row: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return the value of every setting for one clip.

    The more specific wins: the row, the preset it names, the config's `defaults`, the preset these
    name, the schema. Within one level a setting beats the preset.
    """
    defaults = config["defaults"]
    base = schema_defaults("settings")
    default_preset = defaults.get("preset", base["preset"])
    preset = row.get("preset", default_preset)
    presets = config["presets"]
    resolved = base | presets.get(default_preset, {}) | defaults
    if "preset" in row:
        resolved |= presets[preset]
    return resolved | row | {"preset": preset}


def combination_mistakes(settings: dict[str, Any]) -> list[Mistake]:
    """Return mistakes that no single value shows."""
    mistakes = []
    if settings["conditioning_frames"] >= settings["segment_frames"]:
        problem = "must be fewer than segment_frames, or no segment makes progress"
        mistakes.append(Mistake("conditioning_frames", problem))
    start, end = settings["start"] or 0, settings["end"]
    if end is not None and end <= start:
        mistakes.append(Mistake("end", f"{end} s is not after the start at {start} s"))
    return mistakes


def parse_cell(setting: str, text: str) -> Any:
    """Return the value of a table's cell, which is text in a CSV.

    A text that does not have the setting's type comes back as it is, for the schema to refuse.
    """
    types = load_schema("settings")["properties"][setting]["type"]
    if types == "string":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, float) and value.is_integer() and types == "integer":
        return int(value)
    return value if isinstance(value, bool | int | float | str | list | dict) else text


def lora_files(loras: list[dict], table_folder: Path, models: str) -> list[dict[str, Any]]:
    """Return each LoRA with path, weight and revision; those of the hub lie below `models`."""
    return [_complete_lora({"weight": 1.0, **lora}, table_folder, models) for lora in loras]


def _complete_lora(lora: dict, table_folder: Path, models: str) -> dict[str, Any]:
    if "path" in lora:
        return {**lora, "path": relative_to_table(lora["path"], table_folder)}
    lora = {"revision": "main", **lora}
    return {**lora, "path": f"{models}/loras/{lora['repo']}/{lora['revision']}/{lora['file']}"}


def relative_to_table(path: str, table_folder: Path) -> str:
    """Return a path written in a table as seen from the working directory, without `..` inside."""
    return os.path.normpath(table_folder / Path(path).expanduser())
