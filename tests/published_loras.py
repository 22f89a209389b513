"""LoRAs with the keys of published ones, of any size."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

RANK = 4
PUBLISHED = json.loads((Path(__file__).parent / "data/published_loras.json").read_text("utf-8"))
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def expanded(pattern: str, sizes: dict[str, int]) -> Iterator[str]:
    """Yield a pattern's layer of each block, or of each face block."""
    for mark, count in (("{n}", sizes["blocks"]), ("{m}", sizes["face blocks"])):
        if mark in pattern:
            yield from (pattern.replace(mark, str(index)) for index in range(count))
            return
    yield pattern


def shape_of(symbols: list, sizes: dict[str, int]) -> tuple[int, ...]:
    """Return a shape in numbers; a symbol is a size, or a factor and a size."""
    sides = (side if isinstance(side, int) else side.split(maxsplit=1) for side in symbols)
    return tuple(
        side if isinstance(side, int) else math.prod(sizes.get(part) or int(part) for part in side)
        for side in sides
    )


def published_shapes(
    lora: dict, sizes: dict[str, int], rank: int
) -> Iterator[tuple[str, dict[str, str], dict[str, tuple[int, ...]]]]:
    """Yield each layer that a published LoRA changes, its keys and their shapes, by role."""
    for change in lora["changes"]:
        layers = {k: v for group in change["of"] for k, v in PUBLISHED["layers"][group].items()}
        for pattern, symbols in layers.items():
            whole = shape_of(symbols, sizes)
            shapes = {
                "down": (rank, *whole[1:]),
                "up": (whole[0], rank),
                "alpha": (),
                "weight": whole,
                "bias": whole[:1],
                "modulation": whole,
            }
            for layer in expanded(pattern, sizes):
                keys = {
                    role: key.format(layer=layer, layer_=layer.replace(".", "_"))
                    for role, key in change["keys"].items()
                }
                yield layer, keys, {role: shapes[role] for role in keys}


def write_published(
    lora: dict, folder: Path, sizes: dict[str, int]
) -> tuple[Path, dict[str, torch.Tensor]]:
    """Write a file of a published LoRA's form; return it and its differences by original name."""
    generator = torch.Generator().manual_seed(7)
    dtype = DTYPES[lora["dtype"]]

    def noise(shape):
        return (0.2 * torch.randn(shape, generator=generator)).to(dtype)

    tensors, differences = {}, {}
    for layer, keys, shapes in published_shapes(lora, sizes, RANK):
        own = {role: noise(shape) for role, shape in shapes.items()}
        if "alpha" in own:
            own["alpha"] = torch.tensor(2.0 * RANK, dtype=dtype)
        tensors |= {keys[role]: tensor for role, tensor in own.items()}
        if "down" in own:
            scale = own["alpha"].double() / RANK if "alpha" in own else 1
            product = own["up"].double() @ own["down"].double()
            differences[f"{layer}.weight"] = scale * product
        for role in own.keys() & {"weight", "bias", "modulation"}:
            differences[f"{layer}.{role}"] = own[role].double()
    for key, symbols in lora.get("left_out", {}).items():
        tensors[key] = noise(shape_of(symbols, sizes))
    path = folder / lora.get("file", "lora.safetensors")
    if path.suffix == ".ckpt":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    return path, differences
