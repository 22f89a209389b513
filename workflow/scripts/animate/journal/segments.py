"""Finished segments on disk, so that a killed run goes on where it was.

Each key, the hash of all that a clip is made from, has a folder of its own, and nothing of it is
deleted before the clip's video is finished: what is sampled once is never lost to another attempt
with other settings.

A segment is one safetensors file: its new frames as they go into the video, and its last frames as
the next segment needs them.
"""

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from animate.errors import MachineError

FRAMES, TAIL = "frames", "tail"


class Journal:
    """The finished segments of one clip with one key."""

    def __init__(self, folder: Path, key: str):
        """`folder` is the clip's; the segments lie in a folder of it that is named by the key."""
        self._folder = folder / key[:16]
        self._key = key

    def count(self, segments: int) -> int:
        """Return how many whole segments, from the first on, are there; by headers and sizes."""
        finished = 0
        while finished < segments and self._metadata(finished) is not None:
            finished += 1
        return finished

    def whole_clip(self, frames: int) -> int | None:
        """Return how many segments hold all `frames` of a clip, by headers; None if one is lost."""
        segments = found = 0
        while found < frames:
            if self._metadata(segments) is None:
                return None
            with safe_open(self._path(segments), "pt") as file:
                found += file.get_slice(FRAMES).get_shape()[0]
            segments += 1
        return segments if found == frames else None

    def store(
        self, index: int, frames: torch.Tensor, tail: torch.Tensor, made_by: dict[str, Any]
    ) -> None:
        """Write a segment; it appears whole or not at all, even if the machine stops.

        Args:
            index: the segment's number.
            frames: (F, h, w, 3) uint8, the frames that are new in this segment.
            tail: (1, 3, n, h, w) fp32 in -1..1, its last frames, for the next segment.
            made_by: the machine and the software, as JSON values.

        Raises:
            ClipError: the disk is full.
        """
        tensors = {FRAMES: frames.contiguous(), TAIL: tail.contiguous()}
        digests = {name: _digest(tensor) for name, tensor in tensors.items()}
        metadata = {"key": self._key, "made_by": json.dumps(made_by), **digests}
        path = self._path(index)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(save(tensors, metadata))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise full_disk(error, self._folder, index) from error
        finally:
            temporary.unlink(missing_ok=True)

    def frames(self, index: int) -> torch.Tensor:
        """Return the new frames (F, h, w, 3) uint8 of a segment; see `_read`."""
        return self._read(index, FRAMES)

    def tail(self, index: int) -> torch.Tensor:
        """Return the last frames (1, 3, n, h, w) fp32 of a segment; see `_read`."""
        return self._read(index, TAIL)

    def made_by(self, index: int) -> dict[str, Any]:
        """Return what `store` was told of the machine and the software."""
        return json.loads((self._metadata(index) or {}).get("made_by", "{}"))

    def _read(self, index: int, name: str) -> torch.Tensor:
        """Return a tensor of a segment.

        Raises:
            ClipError: its content is no longer what was written. The file is removed, so that the
                next run goes on from the segment before it.
        """
        metadata = self._metadata(index)
        with suppress(SafetensorError, OSError), safe_open(self._path(index), "pt") as file:
            tensor = file.get_tensor(name)
            if metadata and metadata.get(name) == _digest(tensor):
                return tensor
        self._path(index).unlink(missing_ok=True)
        raise MachineError(
            f"segment {index + 1} was damaged on the disk of {self._folder} and is removed:"
            " run again to go on from the segments before it"
        )

    def _metadata(self, index: int) -> dict[str, str] | None:
        """Return what stands in a segment's header; None when it is absent, cut or of another key.

        The header tells the file's length, so opening finds one that was cut.
        """
        try:
            with safe_open(self._path(index), framework="pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError):
            return None
        return metadata if metadata.get("key") == self._key else None

    def _path(self, index: int) -> Path:
        return self._folder / f"segment_{index:05d}.safetensors"


def full_disk(error: OSError, folder: Path, finished: int) -> Exception:
    """Return the `ClipError` for a full disk, or `error` itself when it is something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return MachineError(
        f"no space left on the disk of {folder}; its {finished} finished segments are kept:"
        " free some space and run again"
    )


def _digest(tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{tuple(tensor.shape)}".encode())
    digest.update(tensor.numpy())
    return digest.hexdigest()
