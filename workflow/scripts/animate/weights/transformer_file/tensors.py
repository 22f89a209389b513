"""The tensors of a transformer, of a Diffusers folder or of one file, by Diffusers' names."""

from collections.abc import Iterator
from pathlib import Path

import torch

from animate.errors import ClipError
from animate.weights.kinds import Kind, kind_fault, original_kind
from animate.weights.storage.stored import StoredTensor, stored_tensors
from animate.weights.transformer_file.gguf import gguf_tensors
from animate.weights.transformer_file.originals import Original
from animate.weights.transformer_file.scaled import scaled_tensors

READERS = {".safetensors": scaled_tensors, ".gguf": gguf_tensors}


def transformer_tensors(source: Path, kind: Kind | None = None) -> dict[str, StoredTensor]:
    """Return a transformer's tensors by name, in the order in which they lie on the disk.

    Shapes are as stored: of a file's, axes of length one may differ from the model's. `kind` is
    what the model's transformer is, where that is known.

    Raises:
        ClipError: see `stored_tensors` and `original_tensors`; or one file is of another kind.
    """
    if source.is_dir():
        return stored_tensors(source)
    originals = original_tensors(source)
    if fault := kind and kind_fault(originals, kind):
        raise ClipError(f"{source} {fault}")
    return {tensor.name: tensor for tensor in _renamed(source, originals)}


def original_tensors(path: Path) -> dict[str, Original]:
    """Return the tensors of one file by their original names; nothing but headers is read.

    Raises:
        ClipError: it is neither a safetensors file nor a GGUF, is damaged or cut, or has tensors in
            a form that cannot be read.
    """
    if path.suffix not in READERS:
        raise ClipError(f"{path} is neither a {' nor a '.join(READERS)} file")
    return READERS[path.suffix](path)


def _renamed(path: Path, originals: dict[str, Original]) -> Iterator[StoredTensor]:
    names = original_kind(originals).names(originals)
    for name, tensor in originals.items():
        # What has no new name is passed on, for the check to name it.
        targets = names.get(name, (name,))
        for part, target in enumerate(targets):
            shape = _share(tensor.shape, len(targets))
            place = tensor.place(shape, part, len(targets))
            yield StoredTensor(target, path, shape, tensor.kind, place)


def _share(shape: torch.Size, parts: int) -> torch.Size:
    return shape if parts == 1 else torch.Size([shape[0] // parts, *shape[1:]])
