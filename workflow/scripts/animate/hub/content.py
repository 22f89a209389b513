"""What a part's weights are, as the lock pins them: other contents mean other results."""

import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

from animate.hub.declaration import Declaration, Part
from animate.hub.lock import LockedRepository, read_lock
from animate.hub.names import chosen, matches

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
    found = [chosen(locked.files, choices) for choices in part.files]
    if not all(found):
        return ""
    names = {*chain(*found), *matches(locked.files, part.optional)}
    read = sorted(name for name in names if not fnmatchcase(name, FOR_PEOPLE))
    text = json.dumps([(name, locked.files[name].sha256) for name in read])
    return hashlib.sha256(text.encode()).hexdigest()


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
        from animate.hub.client import keep_addresses_out_of_logs
        from animate.hub.pin import pinned

        keep_addresses_out_of_logs()
        for name, entries in needed.items():
            pinned(declaration, lock_path, name, entries)
    return list(needed)
