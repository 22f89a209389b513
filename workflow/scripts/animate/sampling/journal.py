"""Finished segments on disk, so that a killed run goes on where it was.

A segment is one safetensors file: its new frames as they go into the video and its last frames as
the next segment needs them. Files carry a key, the hash of all that determines the clip, and a
checksum of their tensors; a file with another key or a wrong checksum does not count.
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from animate.errors import ClipError


class Journal:
    """The finished segments of one clip, in a folder of its own."""

    def __init__(self, folder: Path, key: str):
        self._folder = folder
        self._key = key

    def count(self, segments: int) -> int:
        """Return how many whole segments, from the first on, are there; remove all others."""
        finished = 0
        while finished < segments and self.load(finished) is not None:
            finished += 1
        kept = {self._path(index) for index in range(finished)}
        for path in self._folder.glob("*") if self._folder.is_dir() else ():
            if path not in kept:
                path.unlink()
        return finished

    def store(self, index: int, frames: torch.Tensor, tail: torch.Tensor) -> None:
        """Write a segment; it appears whole or not at all, even if the machine stops.

        Args:
            index: the segment's number.
            frames: (F, h, w, 3) uint8, the frames that are new in this segment.
            tail: (1, 3, n, h, w) fp32 in -1..1, its last frames, for the next segment.

        Raises:
            ClipError: the disk is full.
        """
        tensors = {"frames": frames.contiguous(), "tail": tail.contiguous()}
        data = save(tensors, {"key": self._key, "checksum": _checksum(tensors)})
        path = self._path(index)
        temporary = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise full_disk(error, self._folder, index) from error

    def load(self, index: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return a finished segment's frames and tail.

        None when it is absent, damaged or of other settings.
        """
        try:
            with safe_open(self._path(index), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("frames", "tail")}
                metadata = file.metadata()
        except Exception:
            return None
        if metadata != {"key": self._key, "checksum": _checksum(tensors)}:
            return None
        return tensors["frames"], tensors["tail"]

    def remove(self) -> None:
        """Delete the folder: the video is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self._folder / f"segment_{index:05d}.safetensors"


def full_disk(error: OSError, folder: Path, finished: int) -> Exception:
    """Return the `ClipError` for a full disk, or `error` itself when it is something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return ClipError(
        f"no space left on the disk of {folder}; its {finished} finished segments are kept:"
        " free some space and run again"
    )


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()
