"""Weights from files to modules, tensor by tensor, with every mismatch named."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.errors import ClipError
from animate.model.lora import LoraFile, LoraStack
from animate.model.original_names import Names, transformer_names
from animate.model.stored import some_names, stored_tensors

# As in the official model's arithmetic: what modulates or normalises is never rounded to bf16.
FP32_PARTS = re.compile(
    r"(^|\.)(time_embedder|scale_shift_table|norm1|norm2|norm3|motion_synthesis_weight)(\.|$)"
)


class Store(Protocol):
    """Where a model's tensors go as they are read."""

    def rows(self, name: str, shape: torch.Size) -> slice:
        """Return which rows (of the first axis) of a parameter this process keeps."""

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep those rows, on the device and in the parameter's type."""


class Resident:
    """Everything becomes a parameter of the model, where it is."""

    def __init__(self, model: nn.Module):
        self._model = model

    def rows(self, name: str, shape: torch.Size) -> slice:
        """Return all rows."""
        return slice(None)

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Make `tensor` the parameter."""
        assign(self._model, name, tensor)


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


def empty_transformer(folder: Path, dtype: torch.dtype) -> WanAnimateTransformer3DModel:
    """Return the model of a folder on the meta device: shapes and types without memory.

    Matrices are `dtype`; parts that must stay fp32 do.
    """
    config = WanAnimateTransformer3DModel.load_config(folder)
    with torch.device("meta"):
        model = WanAnimateTransformer3DModel.from_config(config)
    for name, parameter in list(model.named_parameters()):
        kept = torch.float32 if FP32_PARTS.search(name) else dtype
        assign(model, name, torch.empty_like(parameter, dtype=kept))
    return model.eval().requires_grad_(False)


def fill_transformer(
    model: WanAnimateTransformer3DModel,
    folder: Path,
    device: torch.device,
    store: Store,
    loras: Iterable[LoraFile] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Read a folder's tensors into `store`, and compute the model's constants on `device`.

    The tensors pass one at a time from the files to the device, of each only the rows that the
    store keeps, so no second copy of the weights is held. LoRA files are merged on the way, each
    with its factor, in fp32.

    Raises:
        ClipError: a tensor is missing, unexpected or misshapen, a file is damaged, or a LoRA does
            not fit.
    """
    parameters = dict(model.named_parameters())
    expected = {name: parameter.shape for name, parameter in parameters.items()}
    types = {name: parameter.dtype for name, parameter in parameters.items()}
    stack = LoraStack(transformer_names(len(model.blocks), len(model.face_adapter)), expected)
    for lora in loras:
        stack.add(lora, say)
    found: dict[str, torch.Size] = {}
    ignored = ignored_names(model)
    for name, stored in stored_tensors(folder).items():
        if ignored.search(name):
            continue
        found[name] = stored.shape
        if expected.get(name) == stored.shape:
            rows = store.rows(name, stored.shape)
            # A LoRA's difference is one of the whole matrix.
            before, after = (slice(None), rows) if stack.changes(name) else (rows, slice(None))
            tensor = stack.merge(name, stored.read(before).to(device))
            store.put(name, tensor[after].to(types[name]))
    check_names(str(folder), expected, found)
    restore_constants(model, device)


def ignored_names(model: nn.Module) -> re.Pattern:
    """Return what matches the stored tensors that diffusers' class leaves aside on purpose.

    Those are its own list, and constants that older versions stored.
    """
    constants = [re.escape(name) for name, _ in model.named_buffers()]
    own = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or []
    return re.compile("|".join([*own, *(f"^{name}$" for name in constants)]) or "(?!)")


def rename(names: Names, name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return the new names and tensors of an original parameter; split where the table says so."""
    targets = names[name]
    parts = tensor.chunk(len(targets)) if targets else ()
    return list(zip(targets, parts, strict=True))


def check_names(source: str, expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> None:
    """Raise a `ClipError` that names the missing, unexpected and misshapen tensors of a source."""
    faults = []
    if missing := [name for name in expected if name not in found]:
        faults.append("missing " + some_names(missing))
    if unexpected := [name for name in found if name not in expected]:
        faults.append("unexpected " + some_names(unexpected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if misshapen:
        faults.append("misshapen " + some_names(misshapen))
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


def assign(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Make `tensor` the parameter of that name."""
    owner, _, attribute = name.rpartition(".")
    parameter = nn.Parameter(tensor, requires_grad=False)
    setattr(model.get_submodule(owner), attribute, parameter)


def restore_constants(model: nn.Module, device: torch.device) -> None:
    """Fill the blur kernels, which are not in checkpoints and were built without memory."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=device)
    kernel = torch.outer(line, line)
    for module in model.modules():
        if getattr(module, "blur", False):
            module.blur_kernel = kernel / kernel.sum()
