"""Tensors to safetensors files of bounded size, with their index, while the next are made."""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from animate.weights.storage.reading import ROWS, TYPES
from animate.weights.storage.stored import INDEX_SUFFIX

SHARD_BYTES = 512 << 20
# Files that are being written while the next is put together.
WRITERS = 2
NAMES_OF_TYPES = {dtype: name for name, dtype in (TYPES | ROWS).items()}


def write_shards(folder: Path, stem: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Write tensors to files of at most `SHARD_BYTES`, or of one larger tensor, and their index.

    No more is in memory than the tensors of `WRITERS` + 2 files. The files get their names, and
    the index is written, when `tensors` has ended without an error.

    Raises:
        OSError: the disk is full.
    """
    files: list[list[str]] = []
    total = 0
    writing: deque[Future] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for content in _shards(tensors):
            files.append(list(content))
            total += sum(tensor.nbytes for tensor in content.values())
            writing.append(pool.submit(write_tensors, _part(folder, len(files)), content))
            if len(writing) > WRITERS:
                writing.popleft().result()
        for future in writing:
            future.result()
    index: dict[str, str] = {}
    for number, names in enumerate(files, start=1):
        file = f"{stem}-{number:05d}-of-{len(files):05d}.safetensors"
        _part(folder, number).replace(folder / file)
        index |= dict.fromkeys(names, file)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
    (folder / f"{stem}{INDEX_SUFFIX}").write_text(text + "\n", "utf-8")


def _shards(tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        if shard and sum(t.nbytes for t in shard.values()) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = tensor
    if shard:
        yield shard


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.safetensors"


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file; other threads run meanwhile, and a full disk is an `OSError`."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": NAMES_OF_TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.detach().reshape(-1).view(torch.uint8).numpy())
        file.flush()
        os.fsync(file.fileno())
