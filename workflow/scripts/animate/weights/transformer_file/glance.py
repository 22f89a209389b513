"""A user's own file of the transformer at a glance, when the table is read: without PyTorch.

What only the tensors' shapes tell is found when they are read.
"""

import json
from functools import cache
from pathlib import Path

# Of the original naming; other Wan models lack at least one.
MARKS = (
    "patch_embedding.weight",
    "pose_patch_embedding.weight",
    "face_adapter.fuser_blocks.0.k_norm.weight",
)
LARGEST_HEADER = 100 << 20


@cache
def fault_at_a_glance(path: Path) -> str:
    """Return in words why a file cannot be a whole transformer, "" when it may be one."""
    with path.open("rb") as file:
        if path.suffix == ".gguf":
            return "" if file.read(4) == b"GGUF" else "is no GGUF file: get the file again"
        size, length = path.stat().st_size, int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length <= LARGEST_HEADER else None
            header.pop("__metadata__", None)
            end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            return "is no safetensors file, or is cut: get the file again"
    if end != size:
        return f"has {size} bytes instead of the {end} that its header tells of: get the file again"
    if missing := [mark for mark in MARKS if not any(name.endswith(mark) for name in header)]:
        return (
            f"has no {missing[0]}: use a file of Wan2.2-Animate-14B in original naming, with every"
            " layer of it"
        )
    return ""
