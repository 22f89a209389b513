"""Weights from files to modules, tensor by tensor, with every mismatch named."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from diffusers import WanAnimateTransformer3DModel
from safetensors import SafetensorError, safe_open
from torch import nn

from animate.errors import ClipError
from animate.model.lora import LoraStack
from animate.model.original_names import Names, transformer_names

NAMES_SHOWN = 5
# As in the official model's arithmetic: what modulates or normalises is never rounded to bf16.
FP32_PARTS = re.compile(
    r"(^|\.)(time_embedder|scale_shift_table|norm1|norm2|norm3|motion_synthesis_weight)(\.|$)"
)


def load_transformer(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    loras: Iterable[tuple[Path, float]] = (),
) -> WanAnimateTransformer3DModel:
    """Return the transformer of a model folder, on `device`, its matrices as `dtype`.

    The tensors pass one at a time from the files to the device, so no second copy of the weights
    is held. LoRA files are merged on the way, each with its factor, in fp32. Parts that must stay
    fp32 do.

    Raises:
        ClipError: a tensor is missing, unexpected or misshapen, a file is damaged, or a LoRA is
            for another model.
    """
    config = WanAnimateTransformer3DModel.load_config(folder)
    with torch.device("meta"):
        model = WanAnimateTransformer3DModel.from_config(config)
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    stack = LoraStack(transformer_names(len(model.blocks), len(model.face_adapter)), expected)
    for path, factor in loras:
        stack.add(path, factor)
    found: dict[str, torch.Size] = {}
    for name, tensor in stored_tensors(folder):
        found[name] = tensor.shape
        if expected.get(name) == tensor.shape:
            kept = torch.float32 if FP32_PARTS.search(name) else dtype
            _assign(model, name, stack.merge(name, tensor.to(device)).to(kept))
    check_names(str(folder), expected, found)
    _restore_constants(model, device)
    return model.eval().requires_grad_(False)


def stored_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the name and tensor (memory-mapped) of all safetensors files of a folder, in order."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ClipError(f"the model folder {folder} has no .safetensors file: get the model again")
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - a safetensors file is not a mapping
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise ClipError(f"{path} is damaged ({error}): get the model again") from error


def rename(names: Names, name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return the new names and tensors of an original parameter; split where the table says so."""
    targets = names[name]
    parts = tensor.chunk(len(targets)) if targets else ()
    return list(zip(targets, parts, strict=True))


def check_names(source: str, expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> None:
    """Raise a `ClipError` that names the missing, unexpected and misshapen tensors of a source."""
    faults = []
    if missing := [name for name in expected if name not in found]:
        faults.append("missing " + _some(missing))
    if unexpected := [name for name in found if name not in expected]:
        faults.append("unexpected " + _some(unexpected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if misshapen:
        faults.append("misshapen " + _some(misshapen))
    if faults:
        raise ClipError(f"{source} is not a Wan2.2-Animate checkpoint: {'; '.join(faults)}")


def model_index(folder: Path) -> dict:
    """Return a model folder's index, or raise a `ClipError` when it is not such a folder."""
    try:
        return json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError) as error:
        raise ClipError(
            f"{folder} is not a model folder: model_index.json cannot be read ({error})"
        ) from error


def _some(names: list[str]) -> str:
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _assign(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    parameter = nn.Parameter(tensor, requires_grad=False)
    setattr(model.get_submodule(owner), attribute, parameter)


def _restore_constants(model: nn.Module, device: torch.device) -> None:
    """Fill the blur kernels, which are not in checkpoints and were built without memory."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
    kernel = torch.outer(line, line)
    for module in model.modules():
        if getattr(module, "blur", False):
            module.blur_kernel = kernel / kernel.sum()
