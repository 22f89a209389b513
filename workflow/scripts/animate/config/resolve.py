"""Which value of a setting holds for a clip: its row's, a preset's, the config's or the default."""

from typing import Any

from animate.config.configuration import Configuration
from animate.config.settings import ClipSettings


def resolve(row: dict[str, Any], config: Configuration) -> ClipSettings:
    """Return the settings of one clip, of which its row states some.

    The more specific wins: the row, the preset it names, the config's `defaults`, the preset these
    name, the declaration.
    """
    defaults = config.defaults.given()
    presets = {name: preset.given() for name, preset in config.presets.items()}
    default_preset = config.defaults.preset
    stated = presets.get(default_preset, {}) | defaults
    if "preset" in row:
        stated |= presets[row["preset"]]
    return ClipSettings(**stated | row | {"preset": row.get("preset", default_preset)})
