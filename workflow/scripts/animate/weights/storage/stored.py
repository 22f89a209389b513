"""The tensors of a folder of safetensors files: which there are, and in which file each counts.

As in diffusers, the index of a sharded model decides; without one, the file with the usual name;
and only without that, all files.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open

from animate.errors import ClipError

INDEX_SUFFIX = ".safetensors.index.json"
USUAL_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes start in its file, as what they are read, and what decodes that."""

    start: int
    shape: torch.Size
    dtype: torch.dtype
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, and what the file's header says of it.

    One without a `place` is a safetensors file's tensor of this very name.
    """

    name: str
    file: Path
    shape: torch.Size
    dtype: str
    place: Place | None = None

    def read(self, rows: slice = slice(None)) -> torch.Tensor:
        """Return the rows (of the first axis), memory-mapped, on the CPU."""
        return _sound(self.file, lambda file: _rows(file, self.name, rows))


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder by name, file by file in the order of the files' names.

    Raises:
        ClipError: there is no file, a file is damaged, the index names a tensor that its file does
            not have, or two files have the same tensor.
    """
    return select_tensors(
        folder,
        [path.name for path in folder.glob("*.safetensors*")],
        lambda index: weight_map(folder / index),
        lambda file: _sound(folder / file, lambda opened: _described(opened, folder / file)),
    )


def select_tensors(
    folder: Path | str,
    names: Iterable[str],
    weight_map: Callable[[str], dict[str, str]],
    described: Callable[[str], Iterable[StoredTensor]],
    remedy: str = "get the model again",
) -> dict[str, StoredTensor]:
    """Return the tensors that count, as `stored_tensors`, of a folder that need not be on disk.

    `names` are those of its files; `weight_map` reads an index, `described` a file's header.
    `folder` and `remedy` are for messages.
    """
    files, placed = _files(folder, sorted(names), weight_map)
    found: dict[str, StoredTensor] = {}
    for file in files:
        for tensor in described(file):
            if placed and placed.get(tensor.name) != file:
                continue
            if tensor.name in found:
                other = found[tensor.name].file.name
                raise ClipError(
                    f"{folder} has {tensor.name} in both {other} and {file}: remove the file that"
                    " does not belong to the model"
                )
            found[tensor.name] = tensor
    if absent := [f"{name} ({placed[name]})" for name in placed if name not in found]:
        raise ClipError(f"{folder} is not complete, missing {some_names(absent)}: {remedy}")
    return found


def some_names(names: list[str], most: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _files(
    folder: Path | str, names: list[str], weight_map: Callable[[str], dict[str, str]]
) -> tuple[list[str], dict[str, str]]:
    """Return the files to read and, with an index, the name of the file of each tensor."""
    files = [name for name in names if name.endswith(".safetensors")]
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX)]
    if len(indexes) > 1:
        raise ClipError(
            f"{folder} has several indexes, {' and '.join(indexes)}: remove all but the model's"
        )
    if indexes:
        placed = weight_map(indexes[0])
        return [name for name in files if name in set(placed.values())], placed
    usual = [name for name in files if name in USUAL_NAMES]
    if not files:
        raise ClipError(f"the model folder {folder} has no .safetensors file: get the model again")
    return usual or files, {}


def weight_map(index: Path) -> dict[str, str]:
    """Return which file has each tensor, as an index says."""
    try:
        return dict(json.loads(index.read_text("utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClipError(f"{index} cannot be read ({error!r}): get the model again") from error


def _described(file: Any, path: Path) -> list[StoredTensor]:
    # A safetensors file is not a mapping.
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    return [
        StoredTensor(name, path, torch.Size(stored.get_shape()), stored.get_dtype())
        for name, stored in slices.items()
    ]


def _rows(file: Any, name: str, rows: slice) -> torch.Tensor:
    stored = file.get_slice(name)
    return stored[rows] if stored.get_shape() else file.get_tensor(name)


def _sound(path: Path, read: Callable[[Any], T]) -> T:
    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except (SafetensorError, OSError) as error:
        raise ClipError(f"{path} is damaged ({error}): get the model again") from error
