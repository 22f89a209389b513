"""Which value of a setting holds for a clip: its row's, a preset's, the config's or the default."""

from typing import Any

from animate.config.configuration import Configuration
from animate.config.fields import Declared
from animate.config.settings import ClipSettings


def resolve(row: dict[str, Any], config: Configuration) -> ClipSettings:
    """Return the settings of one clip, of which its row states some.

    The more specific wins: the row, the preset it names, the config's `defaults`, the preset these
    name, the declaration.
    """
    defaults = config.defaults.given()
    presets = {name: preset.given() for name, preset in config.presets.items()}
    default_preset = config.defaults.preset
    stated = _over(presets.get(default_preset, {}), defaults)
    if "preset" in row:
        stated = _over(stated, presets[row["preset"]])
    stated = _over(stated, row)
    return ClipSettings(**stated | {"preset": row.get("preset", default_preset)})


def _over(stated: dict[str, Any], specific: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the more specific ones over them; of a mapping, the keys it states."""
    merged = stated | specific
    for name, value in specific.items():
        if isinstance(value, Declared) and name in stated:
            merged[name] = type(value)(**stated[name].given() | value.given())
    return merged
