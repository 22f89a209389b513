"""The tensors of a LoRA file by their keys, each read from the disk only when it is merged."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import safe_open
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from animate.errors import ClipError
from animate.weights.storage.stored import some_names


@dataclass(frozen=True)
class LoraTensor:
    """A tensor of a LoRA file: its shape, and a function that reads it, memory-mapped."""

    shape: torch.Size
    read: Callable[[], torch.Tensor]


class _LeftAside:
    """Stands for an object that trainers store beside the weights, and keeps nothing of it."""

    def __init__(self, *content: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
# The stand-in is built in place of these, so that not even their own code runs.
LEFT_ASIDE = [
    (_LeftAside, name)
    for name in (
        "argparse.Namespace",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
        *(f"{module}.{path}" for module in ("pathlib", "pathlib._local") for path in PATHS),
    )
]


def read_lora(path: Path) -> dict[str, LoraTensor | None]:
    """Return the tensors of a LoRA file by key: safetensors, or a checkpoint, nested or not.

    The numbers of a checkpoint count as tensors; anything else in it is None. It is read as weights
    only, so it cannot run code.

    Raises:
        ClipError: the file cannot be read, or holds objects that only their own code can read.
    """
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        return _checkpoint(path)
    except ClipError:
        raise
    except UnpicklingError as error:
        raise ClipError(
            f"LoRA {path} cannot be read: it is damaged, or holds objects that could run code; save"
            " its state_dict alone, best as .safetensors"
        ) from error
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ClipError(f"LoRA {path} cannot be read: {reason}") from error


def _safetensors(path: Path) -> dict[str, LoraTensor | None]:
    # Stays open as long as a tensor may be asked for: parsing the header again costs milliseconds.
    file = safe_open(path, framework="pt")
    return {
        key: LoraTensor(torch.Size(file.get_slice(key).get_shape()), partial(file.get_tensor, key))
        for key in file.keys()  # noqa: SIM118 - a safetensors file is not a mapping
    }


def _checkpoint(path: Path) -> dict[str, LoraTensor | None]:
    # Only the zip files that torch.save has written since 1.6 can be memory-mapped.
    mapped = zipfile.is_zipfile(path)
    with safe_globals(LEFT_ASIDE):
        if mapped and (unsafe := get_unsafe_globals_in_checkpoint(path)):
            raise ClipError(
                f"LoRA {path} holds {some_names(sorted(unsafe))} beside its weights, which could"
                " run code when it is read: save its state_dict alone, best as .safetensors"
            )
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    content = content.get("state_dict", content)
    return {key: _stored(value) for key, value in content.items()}


def _stored(value: Any) -> LoraTensor | None:
    if isinstance(value, int | float):
        value = torch.tensor(value)
    return LoraTensor(value.shape, lambda: value) if torch.is_tensor(value) else None
