"""The parts that run as their library has them: text encoder, image encoder and VAE."""

import json
from pathlib import Path
from typing import Any

import torch

from animate.errors import ClipError
from animate.model.checkpoint import some_names, stored_slices


def load_part(kind: Any, folder: Path, dtype: torch.dtype | str) -> Any:
    """Return the model of class `kind` (of diffusers or transformers) in a folder, on the CPU.

    `dtype` is a type, or "auto" for the stored one. Tensors beyond the model's are left aside:
    published encoders come with heads that are not used here.

    Raises:
        ClipError: a tensor is missing or misshapen, for which the library would put random
            numbers, or the files cannot be read.
    """
    lost = _promised(folder) - {name for name, _ in stored_slices(folder)}
    try:
        model, found = kind.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, use_safetensors=True
        )
    except Exception as error:
        raise ClipError(f"{folder} cannot be loaded ({error}): get the model again") from error
    if absent := sorted(lost.union(found["missing_keys"])):
        raise ClipError(f"{folder} is not complete, missing {some_names(absent)}: get it again")
    return model


def _promised(folder: Path) -> set[str]:
    """Return the tensors that the index of a part in several files names; diffusers trusts it."""
    return {
        name
        for index in folder.glob("*.safetensors.index.json")
        for name in json.loads(index.read_text("utf-8"))["weight_map"]
    }
