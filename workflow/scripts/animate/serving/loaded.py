"""What two clips have in common that the same ranks can sample, as one hash; without torch."""

import json
from pathlib import Path
from typing import Any

from animate.hashing import value_hash
from animate.weights.identity import file_identity, model_identity

LOADED = ("precision", "vae_precision")


def loaded_key(settings: Path, ranks: list[str]) -> str | None:
    """Return the hash of what ranks load for a settings file and how they are started.

    `ranks` is their command, without the settings file. Frame sizes and lengths are no part of it:
    ranks plan anew for those. None when the settings file or what it names cannot be read, which
    is the sampler's to say.
    """
    try:
        job = json.loads(settings.read_text(encoding="utf-8"))
        values = {name: job["settings"].get(name) for name in LOADED}
        loras = [_lora(lora) for lora in job["settings"].get("loras", ())]
        model = Path(job["model"])
        found = [str(model.resolve()), model_identity(model), _relit(job), values, loras]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return value_hash([found, ranks, str(Path.cwd())])[:16]


def _lora(lora: dict[str, Any]) -> list[Any]:
    return [lora, file_identity(Path(lora["path"]))]


def _relit(job: dict[str, Any]) -> bool:
    """Return whether the relighting LoRA is merged where the model has one."""
    wanted = job["settings"].get("relighting_lora", "auto")
    return job["mode"] == "replace" if wanted == "auto" else wanted
