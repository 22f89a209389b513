"""GGUF files of original naming: every block of numbers is decoded as it is read, on the CPU."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from animate.errors import ClipError
from animate.weights.transformer_file.naming import plain_name
from animate.weights.transformer_file.originals import Decode, Original

PLAIN = {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64, "BF16": torch.bfloat16}
# Where converters keep the shape of a tensor that they had to store in another.
SHAPE_KEY = "comfy.gguf.orig_shape."
THREADS = 8
# Bytes that a thread decodes at once: the arrays in between stay in the CPU's caches.
PIECE = 1 << 18


def gguf_tensors(path: Path) -> dict[str, Original]:
    """Return the tensors of a GGUF file by their original names, in the file's order.

    Raises:
        ClipError: the file is damaged or cut, a tensor's encoding is unknown, or the package that
            decodes such files is not installed.
    """
    reader = _reader(path)
    found: dict[str, Original] = {}
    for tensor in sorted(reader.tensors, key=lambda tensor: tensor.data_offset):
        kind, name = tensor.tensor_type.name, plain_name(tensor.name)
        shape = torch.Size(map(int, reversed(tensor.shape)))
        if original := reader.get_field(SHAPE_KEY + tensor.name):
            shape = torch.Size(int(original.parts[index][0]) for index in original.data)
        if shape.numel() != tensor.n_elements:
            raise ClipError(
                f"{path} has {name} with {tensor.n_elements} numbers for the shape {tuple(shape)}:"
                " get the file again"
            )
        start, size = int(tensor.data_offset), int(tensor.n_bytes)
        if kind in PLAIN:
            found[name] = Original(path, name, kind, shape, start, size, PLAIN[kind])
            continue
        numbers, length, decode = _encoding(kind)
        if decode is None:
            raise ClipError(
                f"{path} stores {name} as {kind}, which cannot be decoded here: use a file of"
                " another level, such as Q8_0 or Q4_K_S"
            )

        def decoder(shape: torch.Size, part: int, parts: int, decode=decode, length=length):
            return partial(_numbers, decode, length, shape)

        found[name] = Original(path, name, kind, shape, start, size, torch.uint8, decoder, numbers)
    return found


def header_end(path: Path) -> float:
    """Return the byte at which a file's header ends; infinity where it cannot be read."""
    try:
        return int(_reader(path).data_offset)
    except ClipError:
        return math.inf


def _reader(path: Path) -> Any:
    try:
        # Imported here because only such files need the package.
        from gguf import GGUFReader
    except ImportError as error:
        raise ClipError(
            f"{path} needs the package gguf, which is not installed: run `make install` again"
        ) from error
    try:
        reader = GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, OSError) as error:
        raise ClipError(f"{path} is not a sound GGUF file ({error}): get the file again") from error
    if reader.byte_order == "S":
        raise ClipError(f"{path} is a GGUF file for big-endian machines: use another file")
    return reader


@cache
def _encoding(kind: str) -> tuple[int, int, Callable[[np.ndarray], np.ndarray] | None]:
    """Return the numbers and the bytes of a block, and what decodes rows of blocks, if known."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    numbers, length = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    decode = partial(dequantize, qtype=GGMLQuantizationType[kind])
    try:
        decode(np.zeros((1, length), np.uint8))
    except NotImplementedError:
        decode = None
    return numbers, length, decode


def _numbers(decode: Decode, length: int, shape: torch.Size, stored: torch.Tensor) -> torch.Tensor:
    """Return in fp32, on their device, what bytes (n,) in blocks of `length` stand for."""
    content = stored.cpu().numpy()
    step = PIECE // length * length
    # One row each: of several, the package decodes a few at a time.
    pieces = [content[None, at : at + step] for at in range(0, len(content), step)]
    with ThreadPoolExecutor(THREADS) as pool:
        numbers = np.concatenate([piece[0] for piece in pool.map(decode, pieces)])
    return torch.from_numpy(numbers).reshape(shape).to(stored.device)
