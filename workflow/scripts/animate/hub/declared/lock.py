"""The pinned commit of each repository, with the size and SHA-256 of every file."""

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from animate.atomic import atomic_output
from animate.config.fields import Declared
from animate.errors import ClipError
from animate.hashing import value_hash
from animate.hub.declared.declaration import Declaration, Part

HEADER = (
    "# The pinned commit, sizes and SHA-256 of each repository. Written by the workflow; commit it."
    "\n# What stands under `known` is completed at the first download, and must agree with it.\n"
)


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
        raise PydanticCustomError("", "which is no hash of 40 or 64 hexadecimal digits")
    return text


def _inside(name: str) -> str:
    unsafe = name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name
    if unsafe or not name or not name.isprintable():
        raise PydanticCustomError("", "a name that leaves the model's folder")
    return name


# Ids become names of files in the cache, and names of files places in the model's folder.
Hash = Annotated[str, AfterValidator(_hash)]
FileName = Annotated[str, AfterValidator(_inside)]


class LockedFile(Declared):
    """One file: bytes, SHA-256, and the git hash of a file that is not in large-file storage."""

    size: int | None = None
    sha256: Hash | None = None
    git: Hash | None = None

    @property
    def blob(self) -> str:
        """The file's name among the blobs of a Hugging Face cache."""
        return self.git or self.sha256


class LockedRepository(Declared):
    """The declared revision, the commit it meant when pinned, and the declared files there.

    `known` has the size, the SHA-256 or both of files at that commit which the hub was not yet
    asked for; its answer must agree.
    """

    revision: str
    commit: Hash
    known: dict[FileName, LockedFile] = Field({})
    files: dict[FileName, LockedFile] = Field({})


Lock = dict[str, LockedRepository]


def checked(name: str, pins: Any) -> LockedRepository:
    """Return a repository's pins; a `ClipError` names an id or a file's name that is unsafe."""
    try:
        return LockedRepository.model_validate(pins)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ClipError(
            f"repository {name} has {wrong['input']!r:.200}, {wrong['msg']}: nothing was fetched;"
            " restore config/models.lock.yaml, or choose another revision or repository"
        ) from error


def read_lock(path: Path) -> Lock:
    """Return the pinned repositories by name; none when there is no file yet."""
    if not path.exists():
        return {}
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}
        return {name: checked(name, pins) for name, pins in document.items()}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise ClipError(
            f"{path} cannot be read ({error!r}): restore it, or delete it to pin anew"
        ) from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write the lock in one step, in a stable order."""
    document = {name: lock[name].model_dump(exclude_defaults=True) for name in sorted(lock)}
    with atomic_output(path) as temporary:
        temporary.write_text(HEADER + yaml.safe_dump(document, sort_keys=False), "utf-8")


def pinned_files(declaration: Declaration, lock: Lock, part: Part) -> dict[str, LockedFile]:
    """Return the files of a part, by name; none before each entry of its `files` is pinned."""
    locked = lock.get(part.repository)
    if locked is None or locked.revision != declaration.repositories[part.repository].revision:
        return {}
    try:
        return {name: locked.files[name] for name in part.select(locked.files)}
    except ClipError:
        return {}


def part_sizes(declaration: Declaration, lock: Lock, part: Part) -> dict[str, int]:
    """Return the bytes of a part's files, by name; none before all are pinned or lie in place."""
    folder = declaration.repositories[part.repository].path
    if folder is None:
        return {name: file.size for name, file in pinned_files(declaration, lock, part).items()}
    files = [file for file in folder.rglob("*") if file.is_file()]
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    with suppress(ClipError):
        return {name: sizes[name] for name in part.select(sizes)}
    return {}


def part_content(declaration: Declaration, lock: Lock, part: Part) -> str:
    """Return the hash of the names and SHA-256 of a part's files, "" before they are pinned.

    The commit they stand at is no part of it, nor are files for people (*.md). A folder that is
    used in place is its path: what lies there is not pinned.
    """
    if own := declaration.repositories[part.repository].path:
        return str(own)
    files = pinned_files(declaration, lock, part).items()
    read = [(name, file.sha256) for name, file in files if not name.endswith(".md")]
    return value_hash(read) if read else ""
