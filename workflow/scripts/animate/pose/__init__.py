"""Pose backends: modules with `detect` (a clip's frames) and `detect_picture` (one picture)."""

from importlib import import_module
from types import ModuleType

BACKENDS = ("mediapipe", "vitpose")


def backend(name: str) -> ModuleType:
    """Return the backend's module; only the one that is used is imported."""
    if name not in BACKENDS:
        raise ValueError(f"no pose backend {name!r}; there are {', '.join(BACKENDS)}")
    return import_module(f"animate.pose.{name}")
