"""Whether a file's content is what the lock says."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from animate.atomic import atomic_output
from animate.hub.lock import LockedFile

BLOCK = 1 << 22
RECORD = ".verified.json"


def sha256_of(path: Path, reach: Callable[[int], None] = lambda position: None) -> str:
    """Return a file's SHA-256, calling `reach` with the bytes read so far."""
    digest = hashlib.sha256()
    _read(path, digest.update, reach)
    return digest.hexdigest()


def git_hash_of(path: Path) -> str:
    """Return the hash by which git, and so the hub's listing, names a small file."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    _read(path, digest.update, lambda position: None)
    return digest.hexdigest()


def fault_of(
    path: Path, file: LockedFile, reach: Callable[[int], None] = lambda position: None
) -> str:
    """Return what is wrong with a file's content, "" when nothing is."""
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != file.size:
        return f"{size} bytes instead of {file.size}"
    if file.sha256 and (digest := sha256_of(path, reach)) != file.sha256:
        return f"SHA-256 {digest} instead of {file.sha256}"
    # A file that is being pinned has no SHA-256 yet.
    if not file.sha256 and (digest := git_hash_of(path)) != file.git:
        return f"git hash {digest} instead of {file.git}"
    return ""


class VerifiedFiles:
    """Which files were hashed and good, so that no run hashes them again while they stay as is."""

    def __init__(self, folder: Path):
        self._path = folder / RECORD
        try:
            self._stamps = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            self._stamps = {}

    def __contains__(self, path: Path) -> bool:
        return path.is_file() and self._stamps.get(str(path)) == _stamp(path)

    def add(self, path: Path) -> None:
        """Note that a file's content was found to be right."""
        self._stamps[str(path)] = _stamp(path)

    def discard(self, path: Path) -> None:
        """Forget a file whose content was found to be wrong."""
        self._stamps.pop(str(path), None)

    def save(self) -> None:
        """Write the record beside the model's files."""
        with atomic_output(self._path) as temporary:
            temporary.write_text(json.dumps(self._stamps, indent=1), "utf-8")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _read(path: Path, update: Callable[[memoryview], None], reach: Callable[[int], None]) -> None:
    buffer = memoryview(bytearray(BLOCK))
    position = 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            update(buffer[:count])
            position += count
            reach(position)
