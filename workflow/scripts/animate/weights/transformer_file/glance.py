"""A user's own file of the transformer at a glance, when the table is read: without PyTorch.

What only the tensors' shapes tell is found when they are read.
"""

import json
import re
from functools import cache
from pathlib import Path

from animate.weights.kinds import KINDS, Kind, kind_fault
from animate.weights.transformer_file.naming import plain_name

LARGEST_HEADER = 100 << 20
# The part of a GGUF file that has its tensors' names, each between bytes that are no text.
GGUF_NAMES, TEXT = 1 << 20, re.compile(rb"[\w.]+")


@cache
def fault_at_a_glance(path: Path, kind: Kind = KINDS[0]) -> str:
    """Return in words why a file cannot be a whole transformer of a kind, "" when it may be one."""
    with path.open("rb") as file:
        if path.suffix == ".gguf":
            start = file.read(GGUF_NAMES)
            names = [plain_name(name.decode()) for name in TEXT.findall(start)]
            sound = start.startswith(b"GGUF")
            return kind_fault(names, kind) if sound else "is no GGUF file: get the file again"
        size, length = path.stat().st_size, int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length <= LARGEST_HEADER else None
            header.pop("__metadata__", None)
            end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            return "is no safetensors file, or is cut: get the file again"
    if end != size:
        return f"has {size} bytes instead of the {end} that its header tells of: get the file again"
    names = [plain_name(name) for name in header]
    if fault := kind_fault(names, kind):
        return fault
    if missing := [end for end in kind.ends if not any(name.endswith(end) for name in names)]:
        return (
            f"has no {missing[0]}: use a file of {kind.title}-14B in original naming, with every"
            " layer of it"
        )
    return ""
