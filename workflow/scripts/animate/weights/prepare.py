"""Makes the copy of a model's transformer in the types that the sampler keeps; see `prepared`.

The tensors stream through a few GB of memory: some threads read ahead, others write whole files.
The copy appears under its name when it is whole.
"""

import errno
import fcntl
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch

from animate.atomic import NO_LOCKS
from animate.weights.checkpoint import empty_transformer, fitting_tensors
from animate.weights.prepared import COPY, TRANSFORMER, Copy, source_identity, valid_copy
from animate.weights.storage.reading import TYPES, read_tensors, stored_type
from animate.weights.storage.stored import INDEX_SUFFIX, StoredTensor

STEM = "diffusion_pytorch_model"
SHARD_BYTES = 512 << 20
# Files that are being written while the next is put together.
WRITERS = 2
# A copy that saves a smaller part of the bytes is not worth its place on the disk.
WORTH = 0.25
# Room that is left for others, in bytes.
SPARE = 1 << 30
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
NAMES_OF_TYPES = {dtype: name for name, dtype in TYPES.items()}
CPU = torch.device("cpu")


def prepare(model: Path) -> str:
    """Make the copy of a model's transformer if it pays; return in a sentence what was done.

    It does not pay where the stored types are those that the sampler keeps. Without room on the
    disk there is no copy either, which costs time in each job.

    Raises:
        ClipError: the transformer is not whole, or is not that of Wan2.2-Animate.
    """
    copy, original = model / COPY, model / TRANSFORMER
    empty = empty_transformer(original, torch.bfloat16)
    kept = {name: parameter.dtype for name, parameter in empty.named_parameters()}
    expected = {name: parameter.shape for name, parameter in empty.named_parameters()}
    stored = list(fitting_tensors(empty, original, expected).values())
    types = {tensor.name: _narrower(stored_type(tensor), kept[tensor.name]) for tensor in stored}
    before = sum(tensor.shape.numel() * stored_type(tensor).itemsize for tensor in stored)
    after = sum(tensor.shape.numel() * types[tensor.name].itemsize for tensor in stored)
    if before - after < WORTH * before:
        return f"{original} is stored in the sampler's types and is read as it is"
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (copy.parent / ".lock").open("w") as lock:
            with suppress_missing_locks():
                fcntl.flock(lock, fcntl.LOCK_EX)
            if valid_copy(model):
                return f"{copy} is whole and was made from the present files"
            return _make(model, copy, stored, types, (before, after))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        return f"{copy.parent} cannot be written, so each job reads the original, twice as long"


def _make(
    model: Path,
    copy: Path,
    stored: list[StoredTensor],
    types: dict[str, torch.dtype],
    size: tuple[int, int],
) -> str:
    """Make the copy, of `size` bytes before and after, in place of any that is there."""
    original, partial = model / TRANSFORMER, copy.with_name(f".{copy.name}.part")
    before, after = size
    for leftover in (copy, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    free = shutil.disk_usage(copy.parent).free
    if after + SPARE > free:
        return _no_room(copy, f"it takes {_gb(after)}, and {_gb(free)} are free")
    try:
        partial.mkdir()
        source = source_identity(model)
        lossless = _write(stored, types, partial)
        shutil.copyfile(original / "config.json", partial / "config.json")
        sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
        Copy(source, sizes, lossless).write(partial)
        partial.rename(copy)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return _no_room(copy, "the disk, or one's share of it, is full")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    numbers = "the same numbers" if lossless else "rounded numbers"
    return f"{copy} holds {numbers} in {_gb(after)} instead of {_gb(before)}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


@contextmanager
def suppress_missing_locks() -> Iterator[None]:
    """Go on where the disk has no locks: two that make the same copy at once only lose time."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _no_room(copy: Path, why: str) -> str:
    return (
        f"there is no room for {copy} ({why}), so each job reads the original, twice as long: make"
        " room and run `snakemake --forcerun prepare`"
    )


def _narrower(stored: torch.dtype, kept: torch.dtype) -> torch.dtype:
    return kept if kept.itemsize < stored.itemsize else stored


def _write(stored: list[StoredTensor], types: dict[str, torch.dtype], folder: Path) -> bool:
    """Write the tensors in their new types, and their index; return whether none was changed."""
    shards = _shards(stored, types)
    files = [f"{STEM}-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    tensors, lossless = read_tensors(stored, CPU), True
    writing: deque[Future] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for file, names in zip(files, shards, strict=True):
            content = {}
            for name in names:
                tensor = next(tensors)
                content[name] = tensor.to(types[name])
                lossless &= torch.equal(content[name].to(tensor.dtype), tensor)
            writing.append(pool.submit(write_tensors, folder / file, content))
            if len(writing) > WRITERS:
                writing.popleft().result()
        for future in writing:
            future.result()
    index = {name: file for file, names in zip(files, shards, strict=True) for name in names}
    text = json.dumps({"metadata": {}, "weight_map": index}, indent=2)
    (folder / f"{STEM}{INDEX_SUFFIX}").write_text(text + "\n", "utf-8")
    return lossless


def _shards(stored: list[StoredTensor], types: dict[str, torch.dtype]) -> list[list[str]]:
    """Return the names of the tensors of each file, in order."""
    shards: list[list[str]] = []
    left = 0
    for tensor in stored:
        size = tensor.shape.numel() * types[tensor.name].itemsize
        if size > left:
            shards.append([])
            left = SHARD_BYTES
        shards[-1].append(tensor.name)
        left -= size
    return shards


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
            file.write(tensor.reshape(-1).view(torch.uint8).numpy())
        file.flush()
        os.fsync(file.fileno())
