"""Pose backends: modules with `detect` (a clip's frames) and `detect_picture` (one picture)."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

BACKENDS = ("mediapipe", "vitpose")


def backend(name: str) -> ModuleType:
    """Return the backend's module; only the one that is used is imported."""
    if name not in BACKENDS:
        raise ValueError(f"no pose backend {name!r}; there are {', '.join(BACKENDS)}")
    return import_module(f"animate.pose.backends.{name}")


def backend_options(name: str, weights: Path | None, device: str) -> dict[str, Path | str]:
    """Return what a backend's functions take beside frames: where its weights are, and its device.

    `weights` is a file in the model folder that holds `process_checkpoint/`.
    """
    if name == "mediapipe":
        return {}
    return {"models": weights.parent / "process_checkpoint", "device": device}
