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
LONGEST_HEADER = 100_000_000
INDEX_SUFFIX = ".safetensors.index.json"


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
        from animate.model.stored import stored_tensors

        stored_tensors(index.parent)


def tensors_of(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return the dtype and shape of each tensor in a file, from its header.

    Raises:
        ClipError: the header does not describe the file.
    """
    try:
        header, data_bytes = _header(path)
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
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise ClipError(
            f"{path} is not a sound safetensors file ({error}): run `snakemake verify_models`"
        ) from error
    return {name: (tensor["dtype"], tuple(tensor["shape"])) for name, tensor in header.items()}


def _present(folder: Path, pattern: str) -> list[Path]:
    # Links to the published checkpoint may dangle once it is converted.
    return [path for path in sorted(folder.glob(pattern)) if path.exists()]


def _header(path: Path) -> tuple[dict, int]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > LONGEST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, path.stat().st_size - 8 - length
