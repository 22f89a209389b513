"""Mask backends: modules with `masks`, from a clip's frames and body points to person masks."""

from importlib import import_module
from types import ModuleType

BACKENDS = ("mediapipe", "sam2")


def backend(name: str) -> ModuleType:
    """Return the backend's module; only the one that is used is imported."""
    if name not in BACKENDS:
        raise ValueError(f"no mask backend {name!r}; there are {', '.join(BACKENDS)}")
    return import_module(f"animate.matte.{name}")
