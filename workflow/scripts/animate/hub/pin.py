"""From a branch or tag to a commit whose every file has a known size and SHA-256."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from animate.errors import ClipError
from animate.hub.cache import Cache
from animate.hub.client import explained, patiently
from animate.hub.declaration import Declaration, Repository
from animate.hub.digest import fault_of, sha256_of
from animate.hub.lock import (
    LockedFile,
    LockedRepository,
    changes,
    check_ids,
    read_lock,
    write_lock,
)
from animate.hub.names import checked_name, chosen, hub_name, matches
from animate.hub.transfer import fetch


def pinned(
    declaration: Declaration, lock_path: Path, name: str, needed: list[tuple[str, ...]]
) -> LockedRepository:
    """Return the pin of a repository from the lock; what the lock lacks is looked up and added.

    `needed` are entries of parts' `files`. A changed `revision` is looked up anew. An entry that
    the pin has no file for, because it was declared later, is searched for at the pinned commit.
    """
    repository = declaration.repositories[name]
    locked = read_lock(lock_path).get(name)
    if _serves(locked, repository, needed):
        return locked
    with explained(name):
        guard = Cache.at(declaration.cache).guard(lock_path)
    with guard:
        locked = read_lock(lock_path).get(name)
        if not _serves(locked, repository, needed):
            same = locked is not None and locked.revision == repository.revision
            revision = locked.commit if same else repository.revision
            found = _look_up(declaration, repository, revision)
            # What another table's LoRAs need of the same commit stays pinned.
            kept = locked.files if same else {}
            locked = _agreed(declaration, name, locked, found) if same else found
            locked = replace(locked, files=kept | found.files)
            write_lock(lock_path, read_lock(lock_path) | {name: locked})
    return locked


def update_pins(declaration: Declaration, lock_path: Path) -> Iterator[str]:
    """Look up every repository that is not used in place, and yield what changed, as lines."""
    for repository in declaration.repositories.values():
        if repository.path:
            yield f"{repository.name}: used in place at {repository.path}"
            continue
        with explained(repository.name):
            guard = Cache.at(declaration.cache).guard(lock_path)
        with guard:
            lock = read_lock(lock_path)
            old = lock.get(repository.name)
            new = _look_up(declaration, repository, repository.revision)
            if old and old.commit == new.commit:
                new = _agreed(declaration, repository.name, old, new)
            write_lock(lock_path, lock | {repository.name: new})
        yield from changes(repository.name, old, new)


def _serves(
    locked: LockedRepository | None, repository: Repository, needed: list[tuple[str, ...]]
) -> bool:
    if locked is None or locked.revision != repository.revision:
        return False
    return all(chosen(locked.files, choices) for choices in needed)


def _look_up(declaration: Declaration, repository: Repository, revision: str) -> LockedRepository:
    name, api = hub_name(repository.name), HfApi()
    with explained(name):
        commit = patiently(lambda: api.model_info(name, revision=revision).sha, name)
        check_ids(name, [commit])
        entries = patiently(
            lambda: list(api.list_repo_tree(name, recursive=True, revision=commit)), name
        )
    listed = {checked_name(name, e.path): e for e in entries if isinstance(e, RepoFile)}
    declared = matches(listed, declaration.patterns(repository.name))
    files = {file: _listed_file(listed[file]) for file in declared}
    check_ids(name, (file.blob for file in files.values()))
    locked = LockedRepository(repository.revision, commit, files)
    return replace(locked, files=files | _hashed_small_files(declaration, name, locked))


def _agreed(
    declaration: Declaration, name: str, pinned: LockedRepository, found: LockedRepository
) -> LockedRepository:
    """Return what was found at a pinned commit, with what is known of other files there.

    Raises:
        ClipError: it is another commit, or a file is absent or differs from its pin.
    """
    if found.commit != pinned.commit:
        raise _contradiction(name, "commit", pinned.commit, found.commit)
    declared = matches(pinned.known, declaration.patterns(name))
    for file in dict.fromkeys([*declared, *found.files]):
        for field, value in pinned.pins(file).items():
            now = found.pins(file).get(field, "no such file")
            if now != value:
                raise _contradiction(name, f"{field} of {file}", value, now)
    rest = {file: pins for file, pins in pinned.known.items() if file not in found.files}
    return replace(found, known=rest)


def _contradiction(name: str, what: str, pinned: object, found: object) -> ClipError:
    return ClipError(
        f"repository {name}: the {what} is {pinned} in config/models.lock.yaml and {found} on the"
        " hub, for the same commit: nothing large was fetched; look at HF_ENDPOINT, or remove the"
        " repository from the lock to pin it anew"
    )


def _listed_file(entry: RepoFile) -> LockedFile:
    if entry.lfs is not None:
        return LockedFile(entry.lfs.size, entry.lfs.sha256)
    return LockedFile(entry.size, "", git=entry.blob_id)


def _hashed_small_files(
    declaration: Declaration, name: str, locked: LockedRepository
) -> dict[str, LockedFile]:
    """Fetch the files outside large-file storage: the hub tells their git hash only."""
    cache = Cache.at(declaration.cache)
    small = {file: entry for file, entry in locked.files.items() if entry.git}
    hub_files = {file: locked.hub_file(name, file) for file in small}
    fetch(name, cache, hub_files.values())
    # What another tool left in the cache was not hashed.
    damaged = [file for file in hub_files.values() if fault_of(cache.path(file), file.pin)]
    fetch(name, cache, damaged, force=True)
    return {
        file: replace(entry, sha256=sha256_of(cache.path(hub_files[file])))
        for file, entry in small.items()
    }
