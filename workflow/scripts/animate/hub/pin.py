"""From a branch or tag to a commit whose every file has a known size and SHA-256."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects

from animate.errors import ClipError
from animate.hub.client import explained, patiently
from animate.hub.declared.declaration import Declaration, Repository
from animate.hub.declared.lock import LockedFile, LockedRepository, checked, read_lock, write_lock
from animate.hub.files import cache_folder, chosen, hub_file, sha256_of
from animate.hub.transfer import bring, one_at_a_time


def pin(
    declaration: Declaration, lock_path: Path, name: str, needed: list[tuple[str, ...]]
) -> None:
    """Look up what the lock lacks of a repository, and add it.

    `needed` are entries of parts' `files`. A changed `revision` is looked up anew. An entry that
    the pin has no file for, because it was declared later, is searched for at the pinned commit.
    """
    if not _serves(read_lock(lock_path).get(name), declaration.repositories[name], needed):
        _renew(declaration, lock_path, name, needed)


def update_pins(declaration: Declaration, lock_path: Path) -> Iterator[str]:
    """Look up every repository that is not used in place, and yield what changed, as lines."""
    for name, repository in declaration.repositories.items():
        if repository.path:
            yield f"{name}: used in place at {repository.path}"
        else:
            yield from _changes(name, *_renew(declaration, lock_path, name))


def _renew(
    declaration: Declaration,
    lock_path: Path,
    name: str,
    needed: list[tuple[str, ...]] | None = None,
) -> tuple[LockedRepository | None, LockedRepository]:
    """Look a repository up and pin it; return its pins before and after.

    With `needed` a pinned commit stays, and nothing is done when another process was faster.
    """
    repository = declaration.repositories[name]
    # A pin that another process overwrites is looked up again.
    digest = hashlib.sha256(os.fsencode(lock_path.resolve())).hexdigest()
    guard = cache_folder(declaration) / ".locks" / f"{digest}.lock"
    with explained(name.partition("@")[0]), one_at_a_time(guard):
        lock = read_lock(lock_path)
        old = lock.get(name)
        if needed is not None and _serves(old, repository, needed):
            return old, old
        stays = needed is not None and old and old.revision == repository.revision
        new = _look_up(declaration, repository, old.commit if stays else repository.revision)
        if stays or (old and old.commit == new.commit):
            new = _agreed(declaration, name, old, new)
        write_lock(lock_path, lock | {name: new})
    return old, new


def _serves(
    locked: LockedRepository | None, repository: Repository, needed: list[tuple[str, ...]]
) -> bool:
    pinned = locked is not None and locked.revision == repository.revision
    return pinned and all(chosen(locked.files, choices) for choices in needed)


def _look_up(declaration: Declaration, repository: Repository, revision: str) -> LockedRepository:
    name, api = repository.name.partition("@")[0], HfApi()
    commit = patiently(lambda: api.model_info(name, revision=revision).sha, name)
    found = checked(name, LockedRepository(repository.revision, commit))
    tree = list(api.list_repo_tree(name, recursive=True, revision=commit))
    listed = {
        entry.path: LockedFile(entry.lfs.size, entry.lfs.sha256)
        if entry.lfs
        else LockedFile(entry.size, "", git=entry.blob_id)
        for entry in tree
        if isinstance(entry, RepoFile)
    }
    checked(name, replace(found, files=listed))
    patterns = declaration.patterns(repository.name)
    files = {file: listed[file] for file in filter_repo_objects(listed, allow_patterns=patterns)}
    # Of files outside large-file storage the hub tells the git hash only: they are fetched.
    cache = cache_folder(declaration)
    small = [hub_file(cache, name, commit, file, pin) for file, pin in files.items() if pin.git]
    bring(name, cache, small)
    hashed = {file.name: replace(file.pin, sha256=sha256_of(file.path)) for file in small}
    return replace(found, files=files | hashed)


def _agreed(
    declaration: Declaration, name: str, pinned: LockedRepository, found: LockedRepository
) -> LockedRepository:
    """Return what was found at a pinned commit, with what is known of other files there.

    Raises:
        ClipError: it is another commit, or a file is absent or differs from its pin.
    """
    facts = [("commit", pinned.commit, found.commit)]
    declared = filter_repo_objects(pinned.known, allow_patterns=declaration.patterns(name))
    for file in dict.fromkeys([*declared, *found.files]):
        for key, value in pinned.pins(file).items():
            facts.append((f"{key} of {file}", value, found.pins(file).get(key, "no such file")))
    for what, before, now in facts:
        if before != now:
            raise ClipError(
                f"repository {name}: the {what} is {before} in config/models.lock.yaml and {now} on"
                " the hub, for the same commit: nothing large was fetched; look at HF_ENDPOINT, or"
                " remove the repository from the lock to pin it anew"
            )
    # What another table's LoRAs need of the same commit stays pinned.
    files = pinned.files | found.files
    rest = {file: pins for file, pins in pinned.known.items() if file not in files}
    return replace(found, files=files, known=rest)


def _changes(name: str, old: LockedRepository | None, new: LockedRepository) -> Iterator[str]:
    if old is None:
        yield f"{name}: pinned at {new.commit} ({new.revision}), {len(new.files)} files"
        return
    if old.commit == new.commit and old.files == new.files:
        yield f"{name}: unchanged at {new.commit} ({new.revision})"
        return
    yield f"{name}: {old.commit} ({old.revision}) -> {new.commit} ({new.revision})"
    for file in sorted(old.files.keys() | new.files.keys()):
        before, after = old.files.get(file), new.files.get(file)
        if before is None or after is None:
            yield f"  {'removed' if after is None else 'added'} {file}"
        elif before.sha256 != after.sha256:
            yield f"  changed {file}: {before.size} -> {after.size} bytes"
