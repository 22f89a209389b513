"""Weights from files to ranks: each tensor read once, merged, rounded, and kept where it belongs.

One rank reads a tensor, merges the LoRAs, rounds it and gives it to the others; every rank then
keeps the rows that are its own. So all placements of the weights, on any number of ranks, hold the
same bits.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from animate.config.lora_choice import LoraFile
from animate.devices.world import ALONE, World
from animate.errors import ClipError
from animate.weights.checkpoint import assign, fitting_tensors, restore_constants
from animate.weights.kinds import lora_names, model_kind
from animate.weights.lora.merge import LoraStack
from animate.weights.rounding import FP8, is_rounded, quantise_rows, scale_name
from animate.weights.storage.early import EarlyWeights
from animate.weights.storage.reading import read_tensors


class Store(Protocol):
    """Where a model's tensors go as they are read."""

    def rows(self, name: str, shape: torch.Size) -> slice:
        """Return which rows (of the first axis) of a parameter this process keeps."""

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep those rows, which are on the device and of the parameter's type."""


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


def fill_transformer(
    model: nn.Module,
    source: Path,
    device: torch.device,
    store: Store,
    loras: Iterable[LoraFile] = (),
    say: Callable[[str], None] = print,
    world: World = ALONE,
    early: EarlyWeights | None = None,
) -> None:
    """Read a folder's or file's tensors into `store`, and compute the model's constants.

    `model` is diffusers', of one of the kinds of `animate.weights.kinds`.

    The ranks read about as many bytes each. A rank holds its next tensors and the one at hand
    besides the store's, so no second copy of the weights. LoRA files are merged on the way, each
    with its factor, in fp32; fp8 weights are rounded from that, or taken as they are from where
    they are stored with their factors. `early` are the source's tensors on their way to a rank
    alone.

    Raises:
        ClipError: a tensor is missing, unexpected or misshapen, a file is damaged, or a LoRA does
            not fit or comes too late, to weights that are rounded.
    """
    parameters = dict(model.named_parameters())
    factors = {scale_name(name) for name, p in parameters.items() if is_rounded(p)}
    factors = {name: parameters[name].shape for name in factors}
    expected = {name: p.shape for name, p in parameters.items() if name not in factors}
    kind = model_kind(model)
    stack = LoraStack(lora_names(kind, expected), expected, kind.title)
    for lora in loras:
        stack.add(lora, say)
    stored = fitting_tensors(model, source, expected, factors)
    if stack and not factors.keys().isdisjoint(stored):
        raise ClipError(
            f"{source} has weights that are rounded to fp8, into which no LoRA can be merged: get"
            " the model's own weights again"
        )
    # The order is that of rank 0: another node's copy of the model may be cut into other files.
    order = world.share([name for name in stored if name not in factors])
    readers = _readers({name: expected[name].numel() for name in order}, world)
    pairs = ((name, scale_name(name)) for name in order if readers[name] == world.rank)
    own = (stored[name] for pair in pairs for name in pair if name in stored)
    coming = early.read(own) if early else read_tensors(own, device)
    for name, reader in readers.items():
        kept = {name: parameters[name]}
        if is_rounded(parameters[name]):
            kept[scale_name(name)] = parameters[scale_name(name)]
        if reader == world.rank:
            # One file may store other axes of length one.
            tensor = next(coming).reshape(expected[name])
            if tensor.dtype == FP8:
                made = tensor, next(coming)
            else:
                made = _rounded(stack.merge(name, tensor), parameters[name])
            made = [t.view(p.dtype) for p, t in zip(kept.values(), made, strict=True)]
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


def _rounded(tensor: torch.Tensor, parameter: torch.Tensor) -> Iterable[torch.Tensor]:
    """Return a tensor in the type it is kept in; in fp8, its rows and their factors."""
    if is_rounded(parameter):
        return quantise_rows(tensor.float())
    return [tensor.to(parameter.dtype)]
