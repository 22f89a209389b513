"""Which LoRA is merged and how: all that settings and keys need to know, without torch."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file, the factor it is merged with, and whether each of its keys must have a place."""

    path: Path
    weight: float = 1.0
    strict: bool = True
