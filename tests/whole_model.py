"""The transformer of a folder, whole, in one process: what placements are compared with."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from diffusers import WanAnimateTransformer3DModel

from animate.config.lora_choice import LoraFile
from animate.parallel.loading import Resident, fill_transformer
from animate.weights.checkpoint import empty_transformer


def load_transformer(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    loras: Iterable[LoraFile] = (),
    say: Callable[[str], None] = print,
) -> WanAnimateTransformer3DModel:
    """Return the transformer of a model folder, whole, on `device`; see `fill_transformer`."""
    model = empty_transformer(folder, dtype)
    fill_transformer(model, folder, device, Resident(model), loras, say)
    return model
