"""The headers of safetensors files: read in milliseconds, checked before a GPU is asked for.

Format: https://huggingface.co/docs/safetensors
"""

import json
import struct
from math import prod
from pathlib import Path

from animate.errors import ClipError

BYTES_OF = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}
LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
# What the reading of a damaged header raises.
UNSOUND = (ValueError, TypeError, KeyError, AttributeError, struct.error)
INDEX_SUFFIX = ".safetensors.index.json"

Header = dict[str, tuple[str, tuple[int, ...]]]


def check_headers(folder: Path) -> None:
    """Check every safetensors file under a folder, and that each index's tensors are there.

    Raises:
        ClipError: a file is cut, its header is damaged, or a shape, dtype or tensor is wrong.
    """
    for part in (folder, *sorted(folder.iterdir())):
        for path in _present(part, "*.safetensors"):
            tensors_of(path)
    for index in _present(folder, f"*/*{INDEX_SUFFIX}"):
        # Imported here because PyTorch takes seconds to load.
        from animate.weights.stored import stored_tensors

        stored_tensors(index.parent)


def tensors_of(path: Path) -> Header:
    """Return the dtype and shape of each tensor in a file, from its header.

    Raises:
        ClipError: the header does not describe the file.
    """
    try:
        with path.open("rb") as file:
            length = header_bytes(file.read(LENGTH_BYTES))
            return described(file.read(length), path.stat().st_size - LENGTH_BYTES - length)
    except (OSError, *UNSOUND) as error:
        raise ClipError(
            f"{path} is not a sound safetensors file ({error}): run `snakemake verify_models`"
        ) from error


def header_bytes(start: bytes) -> int:
    """Return the length of the header that follows a file's first 8 bytes; see `UNSOUND`."""
    (length,) = struct.unpack("<Q", start)
    if length > LONGEST_HEADER:
        raise ValueError("its header is too long")
    return length


def described(text: bytes, data_bytes: int) -> Header:
    """Return the dtype and shape of each tensor in a header that `data_bytes` follow.

    Raises:
        UNSOUND: the header is damaged, or does not describe so many bytes.
    """
    header = json.loads(text)
    header.pop("__metadata__", None)
    spans = []
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        size = prod(tensor["shape"]) * BYTES_OF[tensor["dtype"]]
        if end - start != size:
            shape = f"{tensor['dtype']} {tensor['shape']}"
            raise ValueError(f"{name} is {shape} in {end - start} bytes")
        spans.append((start, end))
    spans.sort()
    ends = [0, *(end for _, end in spans)]
    if [start for start, _ in spans] != ends[:-1] or ends[-1] != data_bytes:
        raise ValueError("its tensors do not fill it, so it was cut")
    return {name: (tensor["dtype"], tuple(tensor["shape"])) for name, tensor in header.items()}


def _present(folder: Path, pattern: str) -> list[Path]:
    # Links to the published checkpoint may dangle once it is converted.
    return [path for path in sorted(folder.glob(pattern)) if path.exists()]
