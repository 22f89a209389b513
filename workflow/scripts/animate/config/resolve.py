"""Which value of a setting holds for a clip: its row's, a preset's, the config's or the default."""

from collections.abc import Iterable
from typing import Any

from animate.config.configuration import Configuration
from animate.config.fields import Declared
from animate.config.settings import ClipSettings


def resolve(row: dict[str, Any], config: Configuration) -> ClipSettings:
    """Return the settings of one clip, of which its row states some.

    The more specific wins: the row, the preset it names, the preset of the clip's model, the
    config's `defaults`, the preset these name, the declaration.
    """
    defaults = config.defaults.given()
    presets = {name: preset.given() for name, preset in config.presets.items()}
    default_preset = config.defaults.preset
    stated = _over(presets.get(default_preset, {}), defaults)
    named = [row["preset"]] if "preset" in row else []
    model = clip_model([row, *(presets[name] for name in named), stated], config)
    # One that the defaults name already stays under them.
    own = [model] if model in presets and model != default_preset else []
    for name in [*own, *named]:
        stated = _over(stated, presets[name])
    stated = _over(stated, row)
    preset = [default_preset, *own, *named][-1]
    return ClipSettings(**stated | {"model": model, "preset": preset})


def clip_model(groups: Iterable[dict[str, Any]], config: Configuration) -> str:
    """Return the model that the first of the groups of settings names, else the config's own."""
    return next((group["model"] for group in groups if "model" in group), config.model)


def _over(stated: dict[str, Any], specific: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the more specific ones over them; of a mapping, the keys it states."""
    merged = stated | specific
    for name, value in specific.items():
        if isinstance(value, Declared) and name in stated:
            merged[name] = type(value)(**stated[name].given() | value.given())
    return merged
