"""safetensors files of original naming: bf16, fp16, fp32, or fp8 with a factor for each layer.

In files for ComfyUI, `X.weight` in fp8 stands for the product with `X.scale_weight` (later
`X.weight_scale`), one number or one for each row. What was measured for fp8 inputs is left aside.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from animate.errors import ClipError
from animate.weights.storage.reading import TYPES
from animate.weights.transformer_file.naming import plain_name
from animate.weights.transformer_file.originals import Decode, Original

FP8_TYPES = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
SCALES = ("scale_weight", "weight_scale")
LEFT_ASIDE = ("scaled_fp8", "scale_input", "input_scale", "comfy_quant")


def scaled_tensors(path: Path) -> dict[str, Original]:
    """Return the tensors of a safetensors file by their original names, in the file's order.

    Raises:
        ClipError: the file is damaged or cut, stores a weight in another type, or lacks a factor.
    """
    header, begin = _header(path)
    entries: dict[str, Original] = {}
    scales: dict[str, Original] = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        name, kind = plain_name(name), entry["dtype"]
        layer, _, end = name.rpartition(".")
        if end in LEFT_ASIDE:
            continue
        dtype = (TYPES | FP8_TYPES).get(kind)
        if dtype is None:
            raise ClipError(
                f"{path} stores {name} as {kind}, but a transformer's file is read in"
                f" {', '.join([*TYPES, *FP8_TYPES])}, or as GGUF: use another file of the model"
            )
        start, stop = entry["data_offsets"]
        shape = torch.Size(entry["shape"])
        found = Original(path, name, kind, shape, begin + start, stop - start, dtype)
        if end in SCALES:
            scales[f"{layer}.weight"] = found
        else:
            entries[name] = found
    return {name: _decoded(entry, name, scales) for name, entry in entries.items()}


def _header(path: Path) -> tuple[dict, int]:
    """Return what a file's header says of each tensor, and where the tensors begin."""
    try:
        # It compares the header with the file's size.
        with safe_open(path, framework="np"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError) as error:
        raise ClipError(
            f"{path} is not a sound safetensors file ({error}): get the file again"
        ) from error
    header.pop("__metadata__", None)
    return header, 8 + length


def _decoded(entry: Original, name: str, scales: Mapping[str, Original]) -> Original:
    """Return an entry that becomes numbers: fp8 by its factor, others as they are."""
    if entry.kind not in FP8_TYPES:
        return entry
    scale = scales.get(name)
    if scale is None and scales:
        raise ClipError(
            f"{entry.file} has {name} as {entry.kind} without a {SCALES[0]}, which its other layers"
            " have: get the file again"
        )
    if scale is not None and scale.shape.numel() not in (1, *entry.shape[:1]):
        raise ClipError(
            f"{entry.file} has {scale.name} of shape {tuple(scale.shape)}, which is neither one"
            f" number nor one for each row of {name}: use another file of the model"
        )

    def decoder(shape: torch.Size, part: int, parts: int) -> Decode:
        return partial(_numbers, scale, part, parts)

    return Original(**vars(entry) | {"decoder": decoder})


def _numbers(scale: Original | None, part: int, parts: int, stored: torch.Tensor) -> torch.Tensor:
    """Return in fp32 what the share `part` of fp8 rows stands for."""
    if scale is None:
        return stored.float()
    content = np.fromfile(scale.file, np.uint8, scale.size, offset=scale.start)
    factors = torch.from_numpy(content).view(scale.dtype).float().to(stored.device)
    rows = factors if factors.numel() == 1 else factors.chunk(parts)[part]
    return stored.float() * rows.view(-1, *[1] * (stored.ndim - 1))
