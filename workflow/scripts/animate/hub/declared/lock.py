"""The pinned commit of each repository, with the size and SHA-256 of every file."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from animate.atomic import atomic_output
from animate.errors import ClipError

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
    files: dict[str, LockedFile] = field(default_factory=dict)
    known: dict[str, dict[str, int | str]] = field(default_factory=dict)
    looked_up: bool = True

    def pins(self, name: str) -> dict[str, int | str]:
        """Return size and SHA-256 of a file, as far as they are pinned or known."""
        if file := self.files.get(name):
            return {"size": file.size, "sha256": file.sha256}
        return self.known.get(name, {})


Lock = dict[str, LockedRepository]


def read_lock(path: Path) -> Lock:
    """Return the pinned repositories by name; none when there is no file yet."""
    if not path.exists():
        return {}
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}
        lock = {}
        for name, entry in document.items():
            files = {file: LockedFile(**pins) for file, pins in entry.get("files", {}).items()}
            rest = {"files": files, "looked_up": "files" in entry}
            lock[name] = checked(name, LockedRepository(**entry | rest))
        return lock
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ClipError(
            f"{path} cannot be read ({error!r}): restore it, or delete it to pin anew"
        ) from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock in one step, in a stable order."""
    document = {}
    for name, locked in sorted(lock.items()):
        entry = document[name] = {"revision": locked.revision, "commit": locked.commit}
        if locked.known:
            entry["known"] = dict(sorted(locked.known.items()))
        if locked.looked_up:
            entry["files"] = {
                file: {key: value for key, value in asdict(pin).items() if value is not None}
                for file, pin in sorted(locked.files.items())
            }
    with atomic_output(path) as temporary:
        temporary.write_text(HEADER + yaml.safe_dump(document, sort_keys=False), "utf-8")


def checked(name: str, locked: LockedRepository) -> LockedRepository:
    """Return a repository's pins.

    Raises:
        ClipError: an id, which becomes a file's name in the cache, is no hash, or a file's name
            leads out of the model's folder.
    """
    known = (pins["sha256"] for pins in locked.known.values() if "sha256" in pins)
    for text in (locked.commit, *(file.blob for file in locked.files.values()), *known):
        if not HASH.fullmatch(str(text)):
            raise ClipError(
                f"repository {name} has the id {text!r}, which is no hash of 40 or 64 hexadecimal"
                " digits: nothing was fetched; restore config/models.lock.yaml, or choose another"
                " revision or repository"
            )
    for file in locked.files:
        parts = PurePosixPath(file).parts
        unsafe = not parts or file.startswith("/") or ".." in parts or "\\" in file
        if unsafe or not file.isprintable():
            raise ClipError(
                f"repository {name} offers the file {file!r}, whose name leaves the model's"
                " folder: nothing was fetched; choose another revision or repository"
            )
    return locked
