"""Where a repository's files lie on disk, in the layout of the Hugging Face cache.

Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import hashlib
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock

from animate.errors import ClipError
from animate.hub.lock import HubFile
from animate.hub.progress import size_text


@dataclass(frozen=True)
class Cache:
    """A cache folder, shared by every run and every tool that follows the layout."""

    root: Path

    @classmethod
    def at(cls, folder: Path | None) -> "Cache":
        """Return the cache in `folder`; None means where the environment puts it."""
        return cls(folder or Path(constants.HF_HUB_CACHE))

    def blob(self, file: HubFile) -> Path:
        """Return where a file's content lies, or will."""
        return self._folder(file.repository) / "blobs" / file.pin.blob

    def partial(self, file: HubFile) -> Path:
        """Return where the beginning of a file waits for the rest."""
        blob = self.blob(file)
        return blob.with_name(f"{blob.name}.incomplete")

    def lock(self, repository: str, name: str) -> Path:
        """Return the lock file that huggingface_hub takes too before it writes a blob."""
        return self.root / ".locks" / _folder_name(repository) / f"{name}.lock"

    def guard(self, path: Path) -> AbstractContextManager:
        """Return what lets one process at a time, of all with this cache, change `path`."""
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
        guard = self.root / ".locks" / f"{name}.lock"
        guard.parent.mkdir(parents=True, exist_ok=True)
        return WeakFileLock(guard)

    def path(self, file: HubFile) -> Path:
        """Return where a file is shown under its name: a link to its blob."""
        return self._folder(file.repository) / "snapshots" / file.commit / file.name

    def point(self, file: HubFile) -> None:
        """Make the link to a blob that is there."""
        path = self.path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_link(path, os.path.relpath(self.blob(file), path.parent))

    def check_space(self, subject: str, needed: int) -> None:
        """Raise a `ClipError` when the cache's disk has fewer than `needed` bytes free."""
        disk = next(p for p in (self.root, *self.root.parents) if p.exists())
        free = shutil.disk_usage(disk).free
        if needed > free:
            raise ClipError(
                f"{subject} needs {size_text(needed)} more and {self.root} has"
                f" {size_text(free)} free: free space, or move `cache` in config/models.yaml"
            )

    def _folder(self, repository: str) -> Path:
        return self.root / _folder_name(repository)


def has_size(path: Path, size: int) -> bool:
    """Return whether a file is there with this many bytes."""
    return path.is_file() and path.stat().st_size == size


def replace_link(path: Path, target: str | Path) -> None:
    """Make `path` a symbolic link to `target` in one step, whatever was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def _folder_name(repository: str) -> str:
    return repo_folder_name(repo_id=repository, repo_type="model")
