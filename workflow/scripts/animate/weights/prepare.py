"""Makes the copies of a model's transformer in the types that the sampler keeps; see `prepared`.

The tensors stream through a few GB of memory: some threads read ahead, others write whole files.
The copy appears under its name when it is whole.
"""

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from animate.atomic import NO_LOCKS
from animate.weights.checkpoint import empty_transformer, fitting_tensors
from animate.weights.leftovers import LOCK, remove_partial_copies
from animate.weights.prepared import (
    BF16,
    COPIES,
    FP8,
    TRANSFORMER,
    VERSIONS,
    Copy,
    source_identity,
    valid_copy,
)
from animate.weights.rounding import FP8 as ROWS
from animate.weights.rounding import quantise_rows, rounded_layers, scale_name
from animate.weights.storage.reading import read_tensors, stored_type
from animate.weights.storage.stored import StoredTensor
from animate.weights.storage.writing import write_shards

# A copy that saves a smaller part of the bytes is not worth its place on the disk.
WORTH = 0.25
# Room that is left for others, in bytes.
SPARE = 1 << 30
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
CPU = torch.device("cpu")


def prepare(model: Path, precision: str = BF16) -> str:
    """Make a copy of a model's transformer if it pays; return in a sentence what was done.

    It does not pay where the stored types are those that the sampler keeps. Without room on the
    disk there is no copy either, which costs time in each job. `precision` is "bf16" or "fp8"; the
    copy in fp8 is made of the original's numbers, too.

    Raises:
        ClipError: the transformer is not whole, or is not that of Wan2.2-Animate.
    """
    remove_partial_copies(model)
    copy, original = model / COPIES[precision], model / TRANSFORMER
    empty = empty_transformer(original, torch.bfloat16)
    kept = {name: parameter.dtype for name, parameter in empty.named_parameters()}
    if precision == FP8:
        kept |= {f"{layer}.weight": ROWS for layer in rounded_layers(empty)}
    expected = {name: parameter.shape for name, parameter in empty.named_parameters()}
    stored = list(fitting_tensors(empty, original, expected).values())
    types = {tensor.name: _narrower(stored_type(tensor), kept[tensor.name]) for tensor in stored}
    before = sum(tensor.shape.numel() * stored_type(tensor).itemsize for tensor in stored)
    after = sum(tensor.shape.numel() * types[tensor.name].itemsize for tensor in stored)
    if before - after < WORTH * before:
        return f"{original} is stored in the sampler's types and is read as it is"
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with (copy.parent / LOCK).open("w") as lock:
            with suppress_missing_locks():
                fcntl.flock(lock, fcntl.LOCK_EX)
            if valid_copy(model, precision):
                return f"{copy} is whole and was made from the present files"
            return _make(model, precision, stored, types, (before, after))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        return f"{copy.parent} cannot be written, so each job reads the original, twice as long"


def _make(
    model: Path,
    precision: str,
    stored: list[StoredTensor],
    types: dict[str, torch.dtype],
    size: tuple[int, int],
) -> str:
    """Make the copy, of `size` bytes before and after, in place of any that is there."""
    copy = model / COPIES[precision]
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
        Copy(source, sizes, lossless, VERSIONS[precision]).write(partial)
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
    lossless = True

    def narrowed() -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal lossless
        names = (tensor.name for tensor in stored)
        for name, tensor in zip(names, read_tensors(stored, CPU), strict=True):
            if types[name] == ROWS:
                # As they are rounded where there is no such copy.
                rows, factors = quantise_rows(tensor.float())
                lossless = False
                yield from ((name, rows), (scale_name(name), factors))
                continue
            narrow = tensor.to(types[name])
            lossless = lossless and torch.equal(narrow.to(tensor.dtype), tensor)
            yield name, narrow

    write_shards(folder, "diffusion_pytorch_model", narrowed())
    return lossless
