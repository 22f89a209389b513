"""The files of a model's parts: where each lies, and whether its content is the pinned one.

Layout of the cache: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import glob
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils.sha import git_hash, sha_fileobj
from tqdm.utils import CallbackIOWrapper

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.declared.declaration import Declaration, Part
from animate.hub.declared.lock import Lock, LockedFile, pinned_files


@dataclass(frozen=True)
class ModelFile:
    """One file of a repository: `root` is the folder that has it under its name on the hub.

    `commit` is None when that is a folder of the user's, not of the cache; `pin` is None when the
    repository was never pinned.
    """

    repository: str
    commit: str | None
    root: Path
    name: str
    pin: LockedFile | None

    @property
    def path(self) -> Path:
        """Where the file lies, or will."""
        return self.root / self.name

    @property
    def blob(self) -> Path:
        """Where the cache has the content, under its hash; `path` is a link to it."""
        return self.root.parents[1] / "blobs" / self.pin.blob

    @property
    def size(self) -> int:
        """Bytes."""
        return self.pin.size if self.commit else self.path.stat().st_size

    def found(self) -> Path | None:
        """Return where the file is, of the right size; its content may be wrong."""
        places = (path for path in (self.path, self.blob) if path.is_file())
        return next((path for path in places if path.stat().st_size == self.size), None)


def cache_folder(declaration: Declaration) -> Path:
    """Return the declared cache, or the one that the environment names."""
    return declaration.cache or Path(constants.HF_HUB_CACHE)


def repository_folder(cache: Path, repository: str) -> Path:
    """Return the folder of a repository in a cache."""
    return cache / repo_folder_name(repo_id=repository, repo_type="model")


def hub_file(
    declaration: Declaration, name: str, commit: str, file: str, pin: LockedFile
) -> ModelFile:
    """Return a file of a repository at a commit, as the cache has it or will."""
    repository = name.partition("@")[0]
    folder = repository_folder(cache_folder(declaration), repository)
    return ModelFile(repository, commit, folder / "snapshots" / commit, file, pin)


def part_files(declaration: Declaration, lock: Lock, part: Part) -> dict[str, ModelFile]:
    """Return the files of a part, by their names in the model's folder.

    There are none when it is not pinned yet and has no folder.

    Raises:
        ClipError: the folder is not there, or has no file that matches a pattern.
    """
    name, pins = part.repository, pinned_files(declaration, lock, part)
    if own := declaration.repositories[name].path:
        names = part.select(_names(own))
        files = [ModelFile(name, None, own, file, pins.get(file)) for file in names]
    else:
        files = [hub_file(declaration, name, lock[name].commit, *pinned) for pinned in pins.items()]
    return {str(PurePosixPath(part.folder, file.name)): file for file in files}


def fault_of(path: Path, pin: LockedFile, advance: Callable[[int], None]) -> str:
    """Return what is wrong with a file's content, "" when nothing is.

    `advance` is called with the number of bytes of each read.
    """
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != pin.size:
        return f"{size} bytes instead of {pin.size}"
    with path.open("rb") as file:
        # A file that is being pinned has no SHA-256 yet.
        if not pin.sha256:
            digest = git_hash(file.read())
            return "" if digest == pin.git else f"git hash {digest} instead of {pin.git}"
        digest = sha_fileobj(CallbackIOWrapper(advance, file, "read")).hex()
    return "" if digest == pin.sha256 else f"SHA-256 {digest} instead of {pin.sha256}"


def verified_files(folder: Path) -> set[Path]:
    """Return which files of a model were hashed and good, and are as they were then."""
    try:
        stamps = json.loads((folder / ".verified.json").read_text("utf-8"))
    except (OSError, ValueError):
        return set()
    return {path for path in map(Path, stamps) if _stamp(path) == stamps[str(path)]}


def note_verified(folder: Path, good: Iterable[Path], bad: Iterable[Path] = ()) -> None:
    """Note which files were found to be right and wrong, beside the model's files."""
    paths = (verified_files(folder) | set(good)) - set(bad)
    with atomic_output(folder / ".verified.json") as temporary:
        temporary.write_text(json.dumps({str(path): _stamp(path) for path in paths}), "utf-8")


def _stamp(path: Path) -> list[int] | None:
    status = path.stat() if path.is_file() else None
    return status and [status.st_size, status.st_mtime_ns]


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ClipError(f"config/models.yaml: the folder {folder} under `path` does not exist")
    # Unlike rglob, it follows links to folders.
    names = glob.glob("**", root_dir=folder, recursive=True)  # noqa: PTH207
    return [name for name in names if (folder / name).is_file()]
