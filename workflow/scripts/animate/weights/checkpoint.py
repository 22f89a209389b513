"""A transformer's folder: the empty model it describes, and every mismatch of its tensors named."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import diffusers
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from animate.errors import ClipError
from animate.weights.kinds import KINDS, folder_kind, model_kind
from animate.weights.original_names import Names
from animate.weights.rounding import scale_name
from animate.weights.storage.reading import ROWS
from animate.weights.storage.stored import StoredTensor, some_names
from animate.weights.transformer_file.tensors import transformer_tensors

Part = TypeVar("Part")

# As in the official model's arithmetic: what modulates or normalises is never rounded to bf16.
FP32_PARTS = re.compile(
    r"(^|\.)(time_embedder|time_embedding|time_projection|scale_shift_table|modulation"
    r"|norm1|norm2|norm3|motion_synthesis_weight)(\.|$)"
)


def empty_transformer(folder: Path, dtype: torch.dtype) -> nn.Module:
    """Return diffusers' model of a folder on the meta device: shapes and types without memory.

    Matrices are `dtype`; parts that must stay fp32 do.
    """
    model = empty_part(getattr(diffusers, folder_kind(folder).class_name), folder)
    for name, parameter in list(model.named_parameters()):
        kept = torch.float32 if FP32_PARTS.search(name) else dtype
        assign(model, name, torch.empty(parameter.shape, dtype=kept, device="meta"))
    return model.eval().requires_grad_(False)


def empty_part(kind: type[Part], folder: Path) -> Part:
    """Return the model of class `kind` that a folder's config.json describes, on meta."""
    config = kind.load_config(folder)
    with _OnMeta():
        model = kind.from_config(config)
    return model.to("meta")


class _OnMeta(TorchFunctionMode):
    """Has large tensors made on the meta device, and computes with the small ones.

    Arithmetic on the meta device, as under `torch.device("meta")`, imports PyTorch's compiler.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        # Random numbers would be drawn for nothing.
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


def fitting_tensors(
    model: nn.Module,
    source: Path,
    expected: dict[str, torch.Size],
    factors: Mapping[str, torch.Size] = MappingProxyType({}),
) -> dict[str, StoredTensor]:
    """Return the tensors of a folder or one file, checked to be those of a model's parameters.

    They come by name, in the order in which they lie on the disk. In one file, axes of length one
    count as in other programs: not at all. `factors` are those of fp8 layers, by name: all are
    there, with rows in fp8, or none is.

    Raises:
        ClipError: one is missing, unexpected or misshapen, a file is damaged, or one file holds
            another kind of transformer.
    """
    ignored = ignored_names(model)
    kind = model_kind(model)
    found = transformer_tensors(source, kind).items()
    stored = {name: tensor for name, tensor in found if not ignored.search(name)}
    for name, tensor in stored.items() if source.is_file() else ():
        if name in expected and same_but_for_ones(tensor.shape, expected[name]):
            stored[name] = replace(tensor, shape=expected[name])
    if any(name in stored for name in factors):
        expected = {**expected, **factors}
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    check_names(str(source), expected, shapes, kind.title)
    for name, tensor in stored.items():
        if (tensor.dtype in ROWS) == (scale_name(name) in factors.keys() & stored.keys()):
            continue
        if tensor.place is None:
            raise ClipError(
                f"{source} stores {name} as {tensor.dtype}, which does not go with the factors that"
                " are there or not: get the model again"
            )
    return stored


def same_but_for_ones(shape: torch.Size, other: torch.Size) -> bool:
    """Return whether two shapes differ in axes of length one alone."""
    return [size for size in shape if size != 1] == [size for size in other if size != 1]


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


def check_names(
    source: str,
    expected: dict[str, torch.Size],
    found: dict[str, torch.Size],
    title: str = KINDS[0].title,
) -> None:
    """Raise a `ClipError` that names the missing, unexpected and misshapen tensors of a source.

    `title` is that of the model which it should be of.
    """
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
        raise ClipError(f"{source} is not a {title} checkpoint: {'; '.join(faults)}")


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
