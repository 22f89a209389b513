"""What a part's weights are, as the lock pins them: other contents mean other results."""

import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

from animate.hub.declared.declaration import Declaration, Part
from animate.hub.declared.lock import LockedRepository, read_lock

# Files that no program reads.
FOR_PEOPLE = "*.md"


def part_content(declaration: Declaration, lock: dict[str, LockedRepository], part: Part) -> str:
    """Return the hash of the names and SHA-256 of a part's files, "" before they are pinned.

    The commit they stand at is no part of it. A folder that is used in place is its path: what
    lies there is not pinned.
    """
    repository = declaration.repositories[part.repository]
    if repository.path:
        return str(repository.path)
    locked = lock.get(part.repository)
    if locked is None or locked.revision != repository.revision:
        return ""
    found = [_chosen(locked.files, choices) for choices in part.files]
    if not all(found):
        return ""
    optional = [_chosen(locked.files, [pattern]) for pattern in part.optional]
    names = {*chain(*found, *optional)} - {*_chosen(locked.files, [FOR_PEOPLE])}
    read = sorted(names)
    text = json.dumps([(name, locked.files[name].sha256) for name in read])
    return hashlib.sha256(text.encode()).hexdigest()


def part_sizes(
    declaration: Declaration, lock: dict[str, LockedRepository], part: Part
) -> dict[str, int]:
    """Return the bytes of a part's files by name, none before they are pinned.

    Of a folder that is used in place, they are those of its files.
    """
    repository = declaration.repositories[part.repository]
    locked = lock.get(part.repository)
    if repository.path:
        folder = Path(repository.path)
        files = [file for file in folder.rglob("*") if file.is_file()]
        sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    elif locked and locked.revision == repository.revision:
        sizes = {name: file.size for name, file in locked.files.items()}
    else:
        return {}
    return {name: sizes[name] for choices in part.files for name in _chosen(sizes, choices)}


def _chosen(names: Iterable[str], choices: Iterable[str]) -> list[str]:
    """Choose as `animate.hub.files.chosen` does, without the hub's library."""
    found = ([name for name in names if fnmatchcase(name, pattern)] for pattern in choices)
    return next(filter(None, found), [])


def pin_parts(declaration: Declaration, lock_path: Path, parts: Iterable[Part]) -> list[str]:
    """Pin the parts that the lock lacks; return the repositories that were asked for it.

    Raises:
        ClipError: the hub does not answer, or lacks a file.
    """
    lock = read_lock(lock_path)
    needed: dict[str, list[tuple[str, ...]]] = {}
    for part in parts:
        if not part_content(declaration, lock, part):
            needed.setdefault(part.repository, []).extend(part.files)
    if needed:
        # Imported here because the hub's library takes half a second, and may not be installed.
        from animate.hub.client import quieten_libraries
        from animate.hub.pin import pin

        quieten_libraries()
        for name, entries in needed.items():
            pin(declaration, lock_path, name, entries)
    return list(needed)
