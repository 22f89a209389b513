"""Mask backends: modules with `masks`, from a clip's frames and body points to person masks."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

BACKENDS = ("mediapipe", "sam2")
SAM2_FILE = "process_checkpoint/sam2/sam2_hiera_large.pt"


def backend(name: str) -> ModuleType:
    """Return the backend's module; only the one that is used is imported."""
    if name not in BACKENDS:
        raise ValueError(f"no mask backend {name!r}; there are {', '.join(BACKENDS)}")
    return import_module(f"animate.matte.{name}")


def backend_options(name: str, weights: Path | None, device: str) -> dict[str, Path | str]:
    """Return what a backend's `masks` takes beside frames and points: its checkpoint and device.

    `weights` is the checkpoint, or a file in the model folder that holds `process_checkpoint/`.
    """
    if name == "mediapipe":
        return {}
    checkpoint = weights if weights.suffix == ".pt" else weights.parent / SAM2_FILE
    return {"checkpoint": checkpoint, "device": device}
