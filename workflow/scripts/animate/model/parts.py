"""The parts that run as their library has them: text encoder, image encoder and VAE."""

from pathlib import Path
from typing import Any

import torch

from animate.errors import ClipError
from animate.weights.storage.stored import some_names, stored_tensors


def load_part(kind: Any, folder: Path, dtype: torch.dtype | str) -> Any:
    """Return the model of class `kind` (of diffusers or transformers) in a folder, on the CPU.

    `dtype` is a type, or "auto" for that of `config.json`, else the stored one. Tensors beyond the
    model's are left aside: published encoders come with heads that are not used here.

    Raises:
        ClipError: a tensor is missing or misshapen, for which the library would put random
            numbers, or the files cannot be read.
    """
    stored_tensors(folder)
    try:
        model, found = kind.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, use_safetensors=True
        )
    except Exception as error:
        raise ClipError(f"{folder} cannot be loaded ({error}): get the model again") from error
    if absent := sorted(found["missing_keys"]):
        raise ClipError(f"{folder} is not complete, missing {some_names(absent)}: get it again")
    return model
