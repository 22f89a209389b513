"""Where the files of a model's parts lie: in the cache, or in a folder of the user's."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animate.errors import ClipError
from animate.hub.cache import Cache
from animate.hub.declaration import Declaration, Part
from animate.hub.lock import LockedFile, LockedRepository
from animate.hub.names import select


@dataclass(frozen=True)
class SourceFile:
    """One file of a part: `path` is where it lies, `place` where the model's folder shows it.

    `pin` is None for a file in a folder of the user's whose repository was never pinned.
    """

    part: str
    repository: str
    name: str
    path: Path
    place: str
    size: int
    pin: LockedFile | None
    in_cache: bool


def source_files(
    declaration: Declaration, lock: dict[str, LockedRepository], parts: Iterable[Part]
) -> list[SourceFile]:
    """Return every file of the parts; a `ClipError` names a pattern that no file matches.

    A repository that is not pinned yet and has no folder contributes nothing.
    """
    return [file for part in parts for file in _part_files(declaration, lock, part)]


def _part_files(
    declaration: Declaration, lock: dict[str, LockedRepository], part: Part
) -> list[SourceFile]:
    repository = declaration.repositories[part.repository]
    locked = lock.get(part.repository)
    pins = locked.files if locked else {}
    if repository.path:
        sizes = _sizes(repository.path)
        paths = {name: repository.path / name for name in sizes}
    else:
        cache = Cache.at(declaration.cache)
        sizes = {name: pin.size for name, pin in pins.items()}
        paths = {name: cache.file(part.repository, locked.commit, name) for name in sizes}
        if locked is None:
            return []
    return [
        SourceFile(
            part=part.name,
            repository=part.repository,
            name=name,
            path=paths[name],
            place=f"{part.folder}/{name}" if part.folder else name,
            size=sizes[name],
            pin=pins.get(name),
            in_cache=not repository.path,
        )
        for name in select(part.repository, sizes, part.files)
    ]


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        raise ClipError(f"config/models.yaml: the folder {folder} under `path` does not exist")
    return {
        str((Path(root) / name).relative_to(folder)): (Path(root) / name).stat().st_size
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if (Path(root) / name).is_file()
    }
