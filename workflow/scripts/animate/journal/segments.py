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
import math
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from animate.errors import MachineError

FRAMES, TAIL = "frames", "tail"
# Bytes of a file's header, which is written last: digests stand in it.
HEADER = 1 << 14


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
        """Write a whole segment, whose frames are one piece; see `begin` and `NewSegment`."""
        segment = self.begin(index, len(frames))
        segment.add(frames)
        segment.finish(tail, made_by)

    def begin(self, index: int, frames: int) -> "NewSegment":
        """Return segment number `index` of so many new frames, which are to come."""
        return NewSegment(self._folder, self._path(index), self._key, index, frames)

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


class NewSegment:
    """A segment on its way into the journal; it appears whole or not at all.

    What is added goes to the disk at once, so that little is left to do when the segment is whole.
    One thread at a time may use it.
    """

    def __init__(self, folder: Path, path: Path, key: str, index: int, frames: int):
        self._folder, self._path, self._key = folder, path, key
        self._index, self._expected, self._frames = index, frames, 0
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
        self._file: BinaryIO | None = None
        self._error: OSError | None = None

    def add(self, frames: torch.Tensor) -> None:
        """Write the next new frames (n, h, w, 3) uint8; what goes wrong is for `finish` to say."""
        if self._error:
            return
        try:
            if self._file is None:
                self._begin(frames.shape[1:])
            frames = frames.contiguous().numpy()
            self._digest.update(frames)
            self._file.write(frames)
            self._file.flush()
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._error = error
        self._frames += len(frames)

    def finish(self, tail: torch.Tensor, made_by: dict[str, Any]) -> None:
        """Write what belongs to the frames, and have the segment appear.

        Args:
            tail: (1, 3, n, h, w) fp32 in -1..1, its last frames, for the next segment.
            made_by: the machine and the software, as JSON values, much less than `HEADER`.

        Raises:
            ClipError: the disk is full.
        """
        try:
            if self._error:
                raise self._error
            if self._frames != self._expected:
                raise ValueError(f"{self._frames} frames of {self._expected} have come")
            tail = tail.contiguous()
            self._file.write(tail.numpy())
            self._file.seek(0)
            self._file.write(self._header(tail, made_by))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            raise full_disk(error, self._folder, self._index) from error
        finally:
            self.leave()

    def leave(self) -> None:
        """Remove what was written of a segment that did not become whole."""
        if self._file:
            with suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _begin(self, size: torch.Size) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._shape = (self._expected, *size)
        self._digest = _begun_digest(self._shape)
        self._file = self._temporary.open("wb")
        self._file.seek(8 + HEADER)

    def _header(self, tail: torch.Tensor, made_by: dict[str, Any]) -> bytes:
        """Return the first bytes of a safetensors file, padded to the length that was left out."""
        end = math.prod(self._shape)
        digests = {FRAMES: self._digest.hexdigest(), TAIL: _digest(tail)}
        text = {
            "__metadata__": {"key": self._key, "made_by": json.dumps(made_by), **digests},
            FRAMES: {"dtype": "U8", "shape": self._shape, "data_offsets": (0, end)},
            TAIL: {
                "dtype": "F32",
                "shape": tuple(tail.shape),
                "data_offsets": (end, end + tail.nbytes),
            },
        }
        header = json.dumps(text).encode().ljust(HEADER)
        if len(header) > HEADER:
            raise ValueError(f"a header of {len(header)} bytes, for which {HEADER} are left")
        return struct.pack("<Q", HEADER) + header


def remove_unfinished(folder: Path) -> None:
    """Remove what killed runs wrote of segments, from a clip's folder that this process holds."""
    for path in folder.glob("*/.segment_*.part"):
        path.unlink(missing_ok=True)


def full_disk(error: OSError, folder: Path, finished: int) -> Exception:
    """Return the `ClipError` for a full disk, or `error` itself when it is something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return MachineError(
        f"no space left on the disk of {folder}; its {finished} finished segments are kept:"
        " free some space and run again"
    )


def _digest(tensor: torch.Tensor) -> str:
    digest = _begun_digest(tuple(tensor.shape))
    digest.update(tensor.numpy())
    return digest.hexdigest()


def _begun_digest(shape: tuple[int, ...]) -> Any:
    """Return the digest of a tensor's shape, to which its values are to be added."""
    return hashlib.sha256(f"{shape}".encode())
