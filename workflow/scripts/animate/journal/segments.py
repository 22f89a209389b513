"""Finished segments on disk, so that a killed run goes on where it was.

Each key, the hash of all that a clip is made from, has a folder of its own, and nothing of it is
deleted before the clip's video is finished: what is sampled once is never lost to another attempt
with other settings.

A segment is one safetensors file: its new frames as they were sampled, its last frames as the next
segment needs them, and those of the segment before that it paints again.
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

FRAMES, TAIL, AGAIN = "frames", "tail", "again"
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
        self,
        index: int,
        frames: torch.Tensor,
        tail: torch.Tensor,
        made_by: dict[str, Any],
        again: torch.Tensor | None = None,
    ) -> None:
        """Write a whole segment, whose frames are one piece; see `begin` and `NewSegment`."""
        again = frames[:0] if again is None else again
        segment = self.begin(index, len(frames), len(again))
        segment.add(torch.cat([again, frames]))
        segment.finish(tail, made_by)

    def begin(self, index: int, frames: int, again: int = 0) -> "NewSegment":
        """Return segment number `index`, whose frames are to come.

        First `again` frames of the segment before that it paints again, then `frames` new ones.
        """
        return NewSegment(self._folder, self._path(index), self._key, index, frames, again)

    def frames(self, index: int) -> torch.Tensor:
        """Return the new frames (F, h, w, 3) uint8 of a segment; see `_read`."""
        return self._read(index, FRAMES)

    def again(self, index: int) -> torch.Tensor:
        """Return the frames (n, h, w, 3) uint8 that a segment paints again; see `_read`."""
        known = self.again_count(index)
        return self._read(index, AGAIN) if known else torch.empty(0, dtype=torch.uint8)

    def again_count(self, index: int) -> int:
        """Return how many frames of a finished segment `again` has, by its header."""
        # Files of earlier versions have none.
        if AGAIN not in (self._metadata(index) or {}):
            return 0
        with safe_open(self._path(index), "pt") as file:
            return file.get_slice(AGAIN).get_shape()[0]

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

    def __init__(self, folder: Path, path: Path, key: str, index: int, frames: int, again: int):
        self._folder, self._path, self._key = folder, path, key
        self._index, self._frames = index, 0
        self._expected = {AGAIN: again, FRAMES: frames}
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part")
        self._file: BinaryIO | None = None
        self._error: OSError | None = None

    def add(self, frames: torch.Tensor) -> None:
        """Write the next frames (n, h, w, 3) uint8; what goes wrong is for `finish` to say."""
        if self._error:
            return
        try:
            if self._file is None:
                self._begin(frames.shape[1:])
            frames = frames.contiguous().numpy()
            left = max(0, self._expected[AGAIN] - self._frames)
            self._digests[AGAIN].update(frames[:left])
            self._digests[FRAMES].update(frames[left:])
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
            if self._frames != (expected := sum(self._expected.values())):
                raise ValueError(f"{self._frames} frames of {expected} have come")
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
        self._shapes = {name: (count, *size) for name, count in self._expected.items()}
        self._digests = {name: _begun_digest(shape) for name, shape in self._shapes.items()}
        self._file = self._temporary.open("wb")
        self._file.seek(8 + HEADER)

    def _header(self, tail: torch.Tensor, made_by: dict[str, Any]) -> bytes:
        """Return the first bytes of a safetensors file, padded to the length that was left out."""
        digests = {name: digest.hexdigest() for name, digest in self._digests.items()}
        digests[TAIL] = _digest(tail)
        text = {"__metadata__": {"key": self._key, "made_by": json.dumps(made_by), **digests}}
        end = 0
        for name, shape in self._shapes.items():
            begin, end = end, end + math.prod(shape)
            text[name] = {"dtype": "U8", "shape": shape, "data_offsets": (begin, end)}
        text |= {
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
