"""Where the files of a model's parts lie: in the cache, or in a folder of the user's."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from animate.errors import ClipError
from animate.hub.cache import Cache
from animate.hub.declaration import Declaration, Part
from animate.hub.lock import HubFile, Lock, LockedFile
from animate.hub.names import matches, select


@dataclass(frozen=True)
class SourceFile:
    """One file of a part: `path` is where it lies, `place` where the model's folder shows it.

    `pin` is None when its repository was never pinned, `hub_file` when it lies in a folder of the
    user's.
    """

    part: str
    name: str
    path: Path
    place: str
    size: int
    pin: LockedFile | None
    hub_file: HubFile | None


def source_files(declaration: Declaration, lock: Lock, parts: Iterable[Part]) -> list[SourceFile]:
    """Return every file of the parts; a `ClipError` names a pattern that no file matches.

    A repository that is not pinned yet and has no folder contributes nothing.
    """
    return [file for part in parts for file in _part_files(declaration, lock, part)]


def _part_files(declaration: Declaration, lock: Lock, part: Part) -> Iterator[SourceFile]:
    own_folder = declaration.repositories[part.repository].path
    locked = lock.get(part.repository)
    pins = locked.files if locked else {}
    if own_folder is None and not (locked and locked.looked_up):
        return
    sizes = _sizes(own_folder) if own_folder else {name: pin.size for name, pin in pins.items()}
    cache = Cache.at(declaration.cache)
    names = select(part.repository, sizes, part.files)
    for name in dict.fromkeys(names + matches(sizes, part.optional)):
        hub_file = None if own_folder else locked.hub_file(part.repository, name)
        yield SourceFile(
            part=part.name,
            name=name,
            path=own_folder / name if own_folder else cache.path(hub_file),
            place=f"{part.folder}/{name}" if part.folder else name,
            size=sizes[name],
            pin=pins.get(name),
            hub_file=hub_file,
        )


def _sizes(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        raise ClipError(f"config/models.yaml: the folder {folder} under `path` does not exist")
    return {
        str((Path(root) / name).relative_to(folder)): (Path(root) / name).stat().st_size
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if (Path(root) / name).is_file()
    }
