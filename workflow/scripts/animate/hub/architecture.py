"""Whether stored tensors have the names, shapes and number type that the architecture asks for."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import ClipError

if TYPE_CHECKING:
    from animate.weights.stored import StoredTensor

COMPONENTS = {"transformer": "WanAnimateTransformer3DModel", "vae": "AutoencoderKLWan"}
FLOATS = frozenset({"F32", "F16", "BF16"})
REMEDY = "correct its source in config/models.yaml"


def check_architecture(folder: Path) -> None:
    """Compare the transformer and VAE of a Diffusers folder with what their config.json builds.

    The modules are built without memory, which takes seconds.

    Raises:
        ClipError: tensors are missing, unexpected, misshapen or not of a floating type.
    """
    # Imported here because PyTorch takes seconds to load.
    from animate.weights.stored import stored_tensors

    for component in COMPONENTS:
        part = folder / component
        check_component(str(part), component, part / "config.json", stored_tensors(part))


def check_component(
    source: str, component: str, config: Path, stored: dict[str, "StoredTensor"]
) -> None:
    """Compare the tensors of a transformer or VAE with what its config.json builds.

    Loading decides which tensors count: those that it leaves aside are no fault. `source` is for
    messages.

    Raises:
        ClipError: as `check_architecture`.
    """
    from animate.weights.checkpoint import check_names, ignored_names

    module = _module(config, COMPONENTS[component])
    expected = {name: parameter.shape for name, parameter in module.named_parameters()}
    # The transformer takes no tensor beyond its own; the VAE's library leaves all others aside.
    ignored = ignored_names(module)
    found = {
        name: tensor
        for name, tensor in stored.items()
        if name in expected or (component == "transformer" and not ignored.search(name))
    }
    try:
        check_names(source, expected, {name: tensor.shape for name, tensor in found.items()})
    except ClipError as error:
        raise ClipError(f"{error}; {REMEDY}") from error
    check_types(source, found)


def check_types(source: str, stored: dict[str, "StoredTensor"]) -> None:
    """Raise a `ClipError` that names the first tensor that is not of a type of `FLOATS`."""
    for name, tensor in stored.items():
        if tensor.dtype not in FLOATS:
            raise ClipError(
                f"{source} has {name} ({tensor.file.name}) as {tensor.dtype}, not one of F32, F16"
                f" and BF16: {REMEDY}"
            )


def _module(path: Path, kind: str) -> Any:
    """Return the module that a config.json describes, on the meta device."""
    # Imported here because both packages take seconds to load.
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
            f"{path} describes another VAE (is_residual is true) than Wan2.2-Animate's, which is"
            f" that of Wan 2.1: {REMEDY}"
        )
    return module
