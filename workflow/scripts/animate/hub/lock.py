"""The pinned commit of each repository, with the size and SHA-256 of every file."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.names import checked_name, hub_name

HEADER = (
    "# The pinned commit, sizes and SHA-256 of each repository. Written by the workflow; commit it."
    "\n# What stands under `known` is completed at the first download, and must agree with it.\n"
)
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class LockedFile:
    """One file: bytes, SHA-256, and the git hash of a file that is not in large-file storage."""

    size: int
    sha256: str
    git: str | None = None

    @property
    def blob(self) -> str:
        """The file's name among the blobs of a Hugging Face cache."""
        return self.git or self.sha256


@dataclass(frozen=True)
class LockedRepository:
    """The declared revision, the commit it meant when pinned, and the declared files there.

    `known` has the `size`, the `sha256` or both of files at that commit which the hub was not yet
    asked for; its answer must agree. `looked_up` is false as long as there is no answer at all.
    """

    revision: str
    commit: str
    files: dict[str, LockedFile]
    known: dict[str, dict[str, int | str]] = field(default_factory=dict)
    looked_up: bool = True

    def hub_file(self, repository: str, name: str) -> "HubFile":
        """Return a file with all that is needed to fetch it."""
        return HubFile(hub_name(repository), self.commit, name, self.files[name])

    def pins(self, name: str) -> dict[str, int | str]:
        """Return size and SHA-256 of a file, as far as they are pinned or known."""
        if file := self.files.get(name):
            return {"size": file.size, "sha256": file.sha256}
        return self.known.get(name, {})


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at a commit, and what its content must be."""

    repository: str
    commit: str
    name: str
    pin: LockedFile


Lock = dict[str, LockedRepository]


def read_lock(path: Path) -> Lock:
    """Return the pinned repositories by name; none when there is no file yet."""
    if not path.exists():
        return {}
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}
        return {name: _repository(name, entry) for name, entry in document.items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ClipError(
            f"{path} cannot be read ({error!r}): restore it, or delete it to pin anew"
        ) from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock in one step, in a stable order."""
    document = {name: _document(lock[name]) for name in sorted(lock)}
    with atomic_output(path) as temporary:
        temporary.write_text(HEADER + yaml.safe_dump(document, sort_keys=False), "utf-8")


def changes(name: str, old: LockedRepository | None, new: LockedRepository) -> Iterator[str]:
    """Yield one line for each difference between two pins of a repository."""
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


def check_ids(name: str, ids: Iterable[str | None]) -> None:
    """Raise a `ClipError` when an id, which becomes a file's name in the cache, is no hash."""
    for text in ids:
        if not HASH.fullmatch(str(text)):
            raise ClipError(
                f"repository {name} has the id {text!r}, which is no hash of 40 or 64"
                " hexadecimal digits: nothing was fetched; restore config/models.lock.yaml, or"
                " choose another revision or repository"
            )


def _repository(name: str, entry: dict) -> LockedRepository:
    listed = entry.get("files", {})
    files = {checked_name(name, file): LockedFile(**f) for file, f in listed.items()}
    known = entry.get("known", {})
    locked = LockedRepository(entry["revision"], entry["commit"], files, known, "files" in entry)
    digests = (pins["sha256"] for pins in locked.known.values() if "sha256" in pins)
    check_ids(name, (locked.commit, *(file.blob for file in files.values()), *digests))
    return locked


def _document(locked: LockedRepository) -> dict:
    files = {
        name: {key: value for key, value in asdict(locked.files[name]).items() if value is not None}
        for name in sorted(locked.files)
    }
    document: dict = {"revision": locked.revision, "commit": locked.commit}
    if locked.known:
        document["known"] = dict(sorted(locked.known.items()))
    return document | ({"files": files} if locked.looked_up else {})
