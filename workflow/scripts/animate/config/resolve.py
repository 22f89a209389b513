"""Which value of a setting holds for a clip: its row's, a preset's, the config's or the default."""

from collections.abc import Iterable
from typing import Any

from animate.config.configuration import Configuration
from animate.config.fields import Declared
from animate.config.models.known import MODELS
from animate.config.settings import ClipSettings


def resolve(row: dict[str, Any], config: Configuration) -> ClipSettings:
    """Return the settings of one clip, of which its row states some.

    The more specific wins: the row, the preset it names, the config's `defaults`, the preset of the
    clip's model, the preset that the defaults name, the declaration. Where that one is of another
    model, the standard one takes its place.
    """
    defaults = config.defaults.given()
    presets = presets_of(config)
    named = [row["preset"]] if "preset" in row else []
    default = config.defaults.preset
    groups = [row, *(presets[name] for name in named), defaults, presets.get(default, {})]
    model = clip_model(groups, config)
    if presets.get(default, {}).get("model", model) != model:
        default = ClipSettings.model_fields["preset"].default
    # One that the defaults name already is there.
    own = [model] if model in presets and model != default else []
    under = [presets.get(name, {}) for name in (default, *own)]
    stated: dict[str, Any] = {}
    for group in [*under, defaults, *(presets[name] for name in named), row]:
        stated = _over(stated, group)
    preset = [default, *own, *named][-1]
    return ClipSettings(**stated | {"model": model, "preset": preset})


def presets_of(config: Configuration) -> dict[str, dict[str, Any]]:
    """Return the settings of each preset by its name: the config's, over the one of a model."""
    own = {name: preset.given() for name, preset in config.presets.items()}
    names = preset_names(config.presets)
    return {name: _over(_model_preset(name), own.get(name, {})) for name in names}


def preset_names(own: Iterable[str]) -> list[str]:
    """Return the names of the presets that there are: those of the config, and the models' ones."""
    models = (name for name, model in MODELS.items() if model.preset)
    return list(dict.fromkeys([*own, *models]))


def _model_preset(name: str) -> dict[str, Any]:
    model = MODELS.get(name)
    return {"model": name, **model.preset} if model and model.preset else {}


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
