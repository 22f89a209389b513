"""What two clips have in common that the same ranks can sample, as one hash; without torch."""

import json
from pathlib import Path
from typing import Any

from animate.hashing import value_hash
from animate.weights.identity import TRANSFORMER_FILE, file_identity, model_identity
from animate.weights.layout import adapter_config, relighting_lora

LOADED = ("precision", "vae_precision", "attention")


def loaded_key(settings: Path, ranks: list[str]) -> str | None:
    """Return the hash of what ranks load for a settings file and how they are started.

    `ranks` is their command, without the settings file. Frame sizes and lengths are no part of it:
    ranks plan anew for those. None when the settings file or what it names cannot be read, which
    is the sampler's to say.
    """
    try:
        job = json.loads(settings.read_text(encoding="utf-8"))
        relit, values, loras = loaded_settings(job["mode"], job["settings"])
        loras = [[lora, _lora(Path(lora["path"]))] for lora in loras]
        model = Path(job["model"])
        # One that is asked for and not there is the sampler's to say.
        light = relighting_lora(model) if relit else None
        loras.append(light and _lora(light))
        own = job["settings"].get(TRANSFORMER_FILE)
        weights = [own, model_identity(model, Path(own) if own else None)]
        found = [str(model.resolve()), *weights, values, loras]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return value_hash([found, ranks, str(Path.cwd())])[:16]


def loaded_settings(mode: str, settings: dict[str, Any]) -> list[Any]:
    """Return what of a clip's mode and its sampler's settings decides what ranks load.

    Whether the relighting LoRA is merged, where the model has one; the precisions; own LoRAs.
    """
    relit = settings.get("relighting_lora", "auto")
    values = {name: settings.get(name) for name in LOADED}
    return [mode == "replace" if relit == "auto" else relit, values, settings.get("loras", [])]


def _lora(path: Path) -> list[str | None]:
    """Return the identities of a LoRA's file and of its settings beside it, None without any."""
    beside = adapter_config(path)
    return [file_identity(path), file_identity(beside) if beside.is_file() else None]
