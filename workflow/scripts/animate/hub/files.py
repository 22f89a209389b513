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
from huggingface_hub.utils import filter_repo_objects
from huggingface_hub.utils.sha import git_hash, sha_fileobj
from tqdm.utils import CallbackIOWrapper

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.declared.declaration import Declaration, Part
from animate.hub.declared.lock import Lock, LockedFile


@dataclass(frozen=True)
class ModelFile:
    """One file of a part: `path` is where it lies, `place` its name in the model's folder.

    `commit` is None when it lies in a folder of the user's, not in the cache; `pin` is None when
    its repository was never pinned.
    """

    repository: str
    commit: str | None
    name: str
    path: Path
    pin: LockedFile | None
    part: str = ""
    place: str = ""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.pin.size if self.commit else self.path.stat().st_size

    @property
    def root(self) -> Path:
        """The folder that has the file under its name on the hub."""
        return self.path.parents[self.name.count("/")]

    @property
    def blob(self) -> Path:
        """Where the cache has the content, under its hash; `path` is a link to it."""
        return self.root.parents[1] / "blobs" / self.pin.blob


def cache_folder(declaration: Declaration) -> Path:
    """Return the declared cache, or the one that the environment names."""
    return declaration.cache or Path(constants.HF_HUB_CACHE)


def hub_file(cache: Path, name: str, commit: str, file: str, pin: LockedFile, **of) -> ModelFile:
    """Return a file of a repository at a commit, as the cache has it or will."""
    repository = name.partition("@")[0]
    folder = cache / repo_folder_name(repo_id=repository, repo_type="model")
    return ModelFile(repository, commit, file, folder / "snapshots" / commit / file, pin, **of)


def model_files(declaration: Declaration, lock: Lock, parts: Iterable[Part]) -> list[ModelFile]:
    """Return every file of the parts.

    A repository that is not pinned yet and has no folder contributes nothing.

    Raises:
        ClipError: no file matches a pattern, or the folder is not there.
    """
    files = []
    for part in parts:
        repository, own = part.repository, declaration.repositories[part.repository].path
        locked = lock.get(repository)
        pins = locked.files if locked else {}
        if own is None and not (locked and locked.looked_up):
            continue
        for name in _selected(part, _names(own) if own else pins):
            of = {"part": part.name, "place": str(PurePosixPath(part.folder, name))}
            if own:
                files.append(ModelFile(repository, None, name, own / name, pins.get(name), **of))
            else:
                cache = cache_folder(declaration)
                files.append(hub_file(cache, repository, locked.commit, name, pins[name], **of))
    return files


def chosen(names: Iterable[str], choices: Iterable[str]) -> list[str]:
    """Return the names that match the first of these patterns that has a match."""
    found = (list(filter_repo_objects(names, allow_patterns=pattern)) for pattern in choices)
    return next(filter(None, found), [])


def sha256_of(path: Path, advance: Callable[[int], None] = lambda count: None) -> str:
    """Return a file's SHA-256, calling `advance` with the number of bytes of each read."""
    with path.open("rb") as file:
        return sha_fileobj(CallbackIOWrapper(advance, file, "read")).hex()


def fault_of(
    path: Path, pin: LockedFile, advance: Callable[[int], None] = lambda count: None
) -> str:
    """Return what is wrong with a file's content, "" when nothing is."""
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != pin.size:
        return f"{size} bytes instead of {pin.size}"
    if pin.sha256 and (digest := sha256_of(path, advance)) != pin.sha256:
        return f"SHA-256 {digest} instead of {pin.sha256}"
    # A file that is being pinned has no SHA-256 yet.
    if not pin.sha256 and (digest := git_hash(path.read_bytes())) != pin.git:
        return f"git hash {digest} instead of {pin.git}"
    return ""


class VerifiedFiles:
    """Which files were hashed and good, so that no run hashes them again while they stay as is."""

    def __init__(self, folder: Path):
        self._path = folder / ".verified.json"
        try:
            self._stamps = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            self._stamps = {}

    def __contains__(self, path: Path) -> bool:
        return path.is_file() and self._stamps.get(str(path)) == _stamp(path)

    def save(self, good: Iterable[Path], bad: Iterable[Path] = ()) -> None:
        """Note which files were found to be right and wrong, beside the model's files."""
        self._stamps |= {str(path): _stamp(path) for path in good} | dict.fromkeys(map(str, bad))
        with atomic_output(self._path) as temporary:
            temporary.write_text(json.dumps(self._stamps, indent=1), "utf-8")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _selected(part: Part, names: Iterable[str]) -> list[str]:
    selected = set(filter_repo_objects(names, allow_patterns=list(part.optional)))
    for choices in part.files:
        if not (found := chosen(names, choices)):
            shown = " or ".join(f"'{pattern}'" for pattern in choices)
            raise ClipError(
                f"repository {part.repository} has no file {shown}: correct `files`, `revision` or"
                " `path` in config/models.yaml, or `loras` of the clip"
            )
        selected.update(found)
    return sorted(selected)


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ClipError(f"config/models.yaml: the folder {folder} under `path` does not exist")
    # Unlike rglob, it follows links to folders.
    names = glob.glob("**", root_dir=folder, recursive=True)  # noqa: PTH207
    return [name for name in names if (folder / name).is_file()]
