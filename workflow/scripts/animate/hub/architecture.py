"""Whether stored tensors have the names, shapes and number type that the architecture asks for."""

import json
from pathlib import Path

from animate.errors import ClipError
from animate.hub.headers import tensors_of

COMPONENTS = {"transformer": "WanAnimateTransformer3DModel", "vae": "AutoencoderKLWan"}
FLOATS = frozenset({"F32", "F16", "BF16"})
NAMES_SHOWN = 3


def check_architecture(folder: Path) -> None:
    """Compare the transformer and VAE of a Diffusers folder with what their config.json builds.

    The modules are built without memory, which takes seconds.

    Raises:
        ClipError: tensors are missing, unexpected, misshapen or not of a floating type.
    """
    for component, kind in COMPONENTS.items():
        expected = _expected_shapes(folder / component, kind)
        found = {
            name: tensor
            for path in sorted((folder / component).glob("*.safetensors"))
            for name, tensor in tensors_of(path).items()
        }
        faults = [
            *_named("lacks", expected.keys() - found.keys()),
            *_named("has the unknown", found.keys() - expected.keys()),
            *_named("has the wrong shape of", _misshapen(expected, found)),
            *_named("has no floating type for", {n for n in found if found[n][0] not in FLOATS}),
        ]
        if faults:
            raise ClipError(
                f"{folder / component} is not a Wan2.2-Animate {component}: it"
                f" {' and '.join(faults)}; correct its source in config/models.yaml"
            )


def _expected_shapes(folder: Path, kind: str) -> dict[str, tuple[int, ...]]:
    # Imported here because both packages take seconds to load.
    import diffusers
    import torch

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        with torch.device("meta"):
            module = getattr(diffusers, kind).from_config(config)
    except Exception as error:
        raise ClipError(f"{folder}/config.json does not describe a {kind}: {error}") from error
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _misshapen(expected: dict, found: dict) -> set[str]:
    return {n for n in expected.keys() & found.keys() if found[n][1] != expected[n]}


def _named(problem: str, names: set[str]) -> list[str]:
    shown = ", ".join(sorted(names)[:NAMES_SHOWN])
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [f"{problem} {shown}{more}"] if names else []
