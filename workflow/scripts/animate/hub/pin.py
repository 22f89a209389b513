"""From a branch or tag to a commit whose every file has a known size and SHA-256."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (
    build_hf_headers,
    filter_repo_objects,
    hf_raise_for_status,
    http_backoff,
)

from animate.errors import ClipError
from animate.hashing import file_hash
from animate.hub.client import explained
from animate.hub.declared.declaration import Declaration, Part
from animate.hub.declared.lock import (
    LockedRepository,
    checked,
    part_content,
    read_lock,
    write_lock,
)
from animate.hub.files import cache_folder, hub_file
from animate.hub.transfer import bring, one_at_a_time


def pin(declaration: Declaration, lock_path: Path, parts: Iterable[Part]) -> list[str]:
    """Pin the parts that the lock lacks; return the repositories that were asked for it.

    A changed `revision` is looked up anew. A part that the pin has no file for, because it was
    declared later, is searched for at the pinned commit.

    Raises:
        ClipError: the hub does not answer, lacks a file, or contradicts what is pinned.
    """
    lock = read_lock(lock_path)
    lacking = [part for part in parts if not part_content(declaration, lock, part)]
    names = list(dict.fromkeys(part.repository for part in lacking))
    for name in names:
        _renew(declaration, lock_path, name, [p for p in lacking if p.repository == name])
    return names


def update_pins(
    declaration: Declaration, lock_path: Path, needed: Collection[str]
) -> Iterator[str]:
    """Look up the repositories that are pinned or needed, and yield what changed, as lines.

    Those that are used in place are not looked up.
    """
    pinned = read_lock(lock_path)
    for name, repository in declaration.repositories.items():
        if name not in pinned and name not in needed:
            continue
        if repository.path:
            yield f"{name}: used in place at {repository.path}"
            continue
        old, new = _renew(declaration, lock_path, name)
        if old == new:
            yield f"{name}: unchanged at {new.commit} ({new.revision})"
            continue
        before = f"{old.commit} ({old.revision})" if old else "not pinned"
        yield f"{name}: {before} -> {new.commit} ({new.revision})"
        then = old.files if old else {}
        for file in sorted({*then, *new.files}):
            sizes = [pins[file].size if file in pins else None for pins in (then, new.files)]
            if None in sizes:
                yield f"  {'added' if file in new.files else 'removed'} {file}"
            elif then[file] != new.files[file]:
                yield f"  changed {file}: {sizes[0]} -> {sizes[1]} bytes"


def _renew(
    declaration: Declaration, lock_path: Path, name: str, lacking: Sequence[Part] = ()
) -> tuple[LockedRepository | None, LockedRepository]:
    """Look a repository up and pin it; return its pins before and after.

    For parts that the pin lacks its commit stays, and nothing is done when another process was
    faster.
    """
    revision = declaration.repositories[name].revision
    # A pin that another process overwrites is looked up again.
    guard = cache_folder(declaration) / ".locks" / f"{lock_path.name}.lock"
    with explained(name.partition("@")[0]), one_at_a_time(guard):
        lock = read_lock(lock_path)
        old = lock.get(name)
        if lacking and all(part_content(declaration, lock, part) for part in lacking):
            return old, old
        stays = lacking and old and old.revision == revision
        new = _look_up(declaration, name, old.commit if stays else revision)
        if stays or (old and old.commit == new.commit):
            new = _agreed(declaration, name, old, new)
        for part in lacking:
            part.select(new.files)
        write_lock(lock_path, lock | {name: new})
    return old, new


def _look_up(declaration: Declaration, name: str, revision: str) -> LockedRepository:
    repository = name.partition("@")[0]
    # As HfApi's `model_info`, which does not ask again when the hub is busy.
    address = f"{constants.ENDPOINT}/api/models/{repository}/revision/{quote(revision, safe='')}"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    response = http_backoff("GET", address, headers=build_hf_headers(), timeout=timeout)
    hf_raise_for_status(response)
    commit = response.json()["sha"]
    pins = {"revision": declaration.repositories[name].revision, "commit": commit}
    checked(name, pins)
    tree = HfApi().list_repo_tree(repository, recursive=True, revision=commit)
    listed = {
        entry.path: {"size": entry.lfs.size, "sha256": entry.lfs.sha256}
        if entry.lfs
        else {"size": entry.size, "git": entry.blob_id}
        for entry in tree
        if isinstance(entry, RepoFile)
    }
    found = checked(name, pins | {"files": listed})
    names = sorted(filter_repo_objects(listed, allow_patterns=declaration.patterns(name)))
    files = {file: found.files[file] for file in names}
    # Of files outside large-file storage the hub tells the git hash only: they are fetched.
    small = [
        hub_file(declaration, name, commit, file, pin) for file, pin in files.items() if pin.git
    ]
    bring(name, cache_folder(declaration), small)
    for file in small:
        files[file.name] = file.pin.model_copy(update={"sha256": file_hash(file.path)})
    return found.model_copy(update={"files": files})


def _agreed(
    declaration: Declaration, name: str, pinned: LockedRepository, found: LockedRepository
) -> LockedRepository:
    """Return what was found at a pinned commit, with what is known of other files there.

    Raises:
        ClipError: it is another commit, or a file is absent or differs from its pin.
    """
    facts = [("commit", pinned.commit, found.commit)]
    before = pinned.known | pinned.files
    declared = filter_repo_objects(pinned.known, allow_patterns=declaration.patterns(name))
    for file in sorted({*declared, *found.files} & before.keys()):
        for key, value in before[file].model_dump(exclude_defaults=True, exclude={"git"}).items():
            now = getattr(found.files.get(file), key, "no such file")
            facts.append((f"{key} of {file}", value, now))
    for what, then, now in facts:
        if then != now:
            raise ClipError(
                f"repository {name}: the {what} is {then} in config/models.lock.yaml and {now} on"
                " the hub, for the same commit: nothing large was fetched; look at HF_ENDPOINT, or"
                " remove the repository from the lock to pin it anew"
            )
    # What another table's LoRAs need of the same commit stays pinned.
    files = dict(sorted((pinned.files | found.files).items()))
    known = {file: pins for file, pins in pinned.known.items() if file not in files}
    return found.model_copy(update={"files": files, "known": known})
