"""Whether stored tensors have the names, shapes and number type that the architecture asks for.

Only headers are read. The modules are built without memory, which takes seconds.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from animate.errors import ClipError
from animate.weights.kinds import KINDS, folder_kind, kind_fault, named_kind
from animate.weights.layout import PARTS

if TYPE_CHECKING:
    from animate.weights.storage.stored import StoredTensor

TRANSFORMER, VAE = "transformer", "vae"
WEIGHTS, CONFIG = "*.safetensors*", "config.json"
FLOATS = frozenset({"F32", "F16", "BF16"})


def check_headers(folder: Path) -> None:
    """Check every safetensors file of a model's folder, and that each index's tensors are there.

    Raises:
        ClipError: a file is cut, its header is damaged, or a tensor is missing.
    """
    parts = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
    # Links to the published checkpoint may dangle once it is converted.
    for path in (p for part in parts for p in sorted(part.glob("*.safetensors")) if p.exists()):
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise ClipError(f"{path} is not a sound safetensors file ({error})") from error
    for part in parts:
        if any(path.exists() for path in part.glob("*.safetensors.index.json")):
            # Imported here because PyTorch takes seconds to load.
            from animate.weights.storage.stored import stored_tensors

            stored_tensors(part)


def check_architecture(folder: Path) -> None:
    """Compare the transformer and VAE in a Diffusers folder with what their config.json builds.

    One that has no weights is left out: another file may hold them. Loading decides which tensors
    count: those that it leaves aside are no fault.

    Raises:
        ClipError: tensors are missing, unexpected, misshapen or not of a type of `FLOATS`.
    """
    from animate.weights.checkpoint import check_names, ignored_names
    from animate.weights.storage.stored import stored_tensors

    # A folder that is fetched in parts may have no transformer yet.
    known = (folder / TRANSFORMER / CONFIG).is_file()
    kind = folder_kind(folder / TRANSFORMER) if known else KINDS[0]
    classes = {TRANSFORMER: kind.class_name, VAE: PARTS[VAE][1]}
    for part in (folder / name for name in classes if any((folder / name).glob(WEIGHTS))):
        stored = stored_tensors(part)
        module = _module(part / CONFIG, classes[part.name])
        expected = {name: parameter.shape for name, parameter in module.named_parameters()}
        # The transformer takes no tensor beyond its own; the VAE's library leaves all others aside.
        ignored = ignored_names(module)
        found = {
            name: tensor
            for name, tensor in stored.items()
            if name in expected or (part.name == TRANSFORMER and not ignored.search(name))
        }
        shapes = {name: tensor.shape for name, tensor in found.items()}
        check_names(str(part), expected, shapes, kind.title)
        _check_types(part, found)


def check_original(folder: Path) -> None:
    """Check that the published checkpoint in a folder becomes a transformer; as above."""
    from animate.weights.convert import check_transformer, original_transformer
    from animate.weights.storage.stored import stored_tensors

    stored = stored_tensors(folder)
    check_transformer(folder, stored, *original_transformer(folder, stored))
    _check_types(folder, stored)


def check_transformer_file(path: Path, kind: str | None = None) -> None:
    """Check that one file holds a whole transformer in original naming, of a kind if one is named.

    Raises:
        ClipError: it is damaged or cut, holds another model, or stores it in a form that cannot be
            read.
    """
    from animate.weights.convert import check_transformer, original_transformer
    from animate.weights.transformer_file.tensors import original_tensors

    tensors = original_tensors(path)
    if fault := kind and kind_fault(tensors, named_kind(kind)):
        raise ClipError(f"{path} {fault}")
    check_transformer(path, tensors, *original_transformer(path, tensors))


def _check_types(folder: Path, stored: dict[str, "StoredTensor"]) -> None:
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            raise ClipError(
                f"{folder} has {name} ({tensor.file.name}) as {tensor.dtype}, not one of F32, F16"
                " and BF16"
            )


def _module(path: Path, kind: str) -> Any:
    """Return the module that a config.json describes, on the meta device."""
    import diffusers
    import torch

    try:
        config = json.loads(path.read_text("utf-8"))
        with torch.device("meta"):
            module = getattr(diffusers, kind).from_config(config)
    except Exception as error:
        raise ClipError(f"{path} does not describe a {kind}: {error}") from error
    if module.config.get("is_residual"):
        raise ClipError(
            f"{path} describes another VAE (is_residual is true) than the model's, which is that"
            " of Wan 2.1"
        )
    return module
