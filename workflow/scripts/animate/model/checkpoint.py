"""Weights from files to modules, tensor by tensor, with every mismatch named.

Each tensor is read once, by one of the ranks, which merges the LoRAs, rounds it and gives it to the
others; every rank then keeps the rows that are its own. So all placements of the weights, on any
number of ranks, hold the same bits.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.errors import ClipError
from animate.model.lora import LoraStack
from animate.model.lora_choice import LoraFile
from animate.model.original_names import Names, transformer_names
from animate.model.reading import read_tensors
from animate.model.stored import StoredTensor, some_names, stored_tensors
from animate.parallel.fp8 import FP8, quantise_rows, scale_name
from animate.parallel.world import ALONE, World

# As in the official model's arithmetic: what modulates or normalises is never rounded to bf16.
FP32_PARTS = re.compile(
    r"(^|\.)(time_embedder|scale_shift_table|norm1|norm2|norm3|motion_synthesis_weight)(\.|$)"
)


class Store(Protocol):
    """Where a model's tensors go as they are read."""

    def rows(self, name: str, shape: torch.Size) -> slice:
        """Return which rows (of the first axis) of a parameter this process keeps."""

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep those rows, which are on the device and of the parameter's type."""

    def attach(self, model: nn.Module) -> None:
        """Have the weights brought to where they are used; call it after compilation."""


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

    def attach(self, model: nn.Module) -> None:
        """Have the weights brought to where they are used: they are there."""


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
    world: World = ALONE,
) -> None:
    """Read a folder's tensors into `store`, and compute the model's constants on `device`.

    The ranks read about as many bytes each. A rank holds its next tensors and the one at hand
    besides the store's, so no second copy of the weights. LoRA files are merged on the way, each
    with its factor, in fp32; fp8 weights are rounded from that.

    Raises:
        ClipError: a tensor is missing, unexpected or misshapen, a file is damaged, or a LoRA does
            not fit.
    """
    parameters = dict(model.named_parameters())
    made_here = {scale_name(name) for name, p in parameters.items() if p.dtype == FP8}
    expected = {name: p.shape for name, p in parameters.items() if name not in made_here}
    stack = LoraStack(transformer_names(len(model.blocks), len(model.face_adapter)), expected)
    for lora in loras:
        stack.add(lora, say)
    stored = fitting_tensors(model, folder, expected)
    # The order is that of rank 0: another node's copy of the model may be cut into other files.
    readers = _readers({name: expected[name].numel() for name in world.share(list(stored))}, world)
    own = (stored[name] for name, reader in readers.items() if reader == world.rank)
    coming = read_tensors(own, device)
    for name, reader in readers.items():
        kept = {name: parameters[name]}
        if parameters[name].dtype == FP8:
            kept[scale_name(name)] = parameters[scale_name(name)]
        if reader == world.rank:
            made = _rounded(stack.merge(name, next(coming)), [p.dtype for p in kept.values()])
        else:
            made = [torch.empty(p.shape, dtype=p.dtype, device=device) for p in kept.values()]
        for target, tensor in zip(kept, made, strict=True):
            world.give(tensor, reader)
            store.put(target, tensor[store.rows(target, tensor.shape)])
    restore_constants(model, device)


def _readers(sizes: dict[str, int], world: World) -> dict[str, int]:
    """Return the rank that reads each tensor: always the one that has read least so far."""
    readers, read = {}, [0] * world.size
    for name, size in sizes.items():
        readers[name] = read.index(min(read))
        read[readers[name]] += size
    return readers


def _rounded(tensor: torch.Tensor, dtypes: list[torch.dtype]) -> Iterable[torch.Tensor]:
    """Return a tensor in the type it is kept in; in fp8, its rows and their factors."""
    return quantise_rows(tensor.float()) if dtypes[0] == FP8 else [tensor.to(dtypes[0])]


def fitting_tensors(
    model: nn.Module, folder: Path, expected: dict[str, torch.Size]
) -> dict[str, StoredTensor]:
    """Return a folder's tensors by name, file by file, checked to be those of a model's parameters.

    Raises:
        ClipError: one is missing, unexpected or misshapen, or a file is damaged.
    """
    ignored = ignored_names(model)
    stored = {name: t for name, t in stored_tensors(folder).items() if not ignored.search(name)}
    check_names(str(folder), expected, {name: tensor.shape for name, tensor in stored.items()})
    return stored


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
