"""A model's folder: links to its verified files, and the record of where they come from."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from animate.atomic import atomic_output
from animate.hub.cache import Cache, has_size, replace_link
from animate.hub.declaration import INDEX, Declaration, Model, Part
from animate.hub.digest import VerifiedFiles, fault_of
from animate.hub.headers import check_headers
from animate.hub.lock import read_lock
from animate.hub.names import matches
from animate.hub.parallel import in_parallel
from animate.hub.pin import pinned
from animate.hub.preflight import check_before_fetching, describes_weights
from animate.hub.progress import Progress
from animate.hub.source import SourceFile, source_files
from animate.hub.transfer import fetch
from animate.weights.layout import RECORD

PARALLEL_CHECKS = 4


@dataclass(frozen=True)
class Installation:
    """Some parts of a model, and the folder that shows them under the names of the hub."""

    declaration: Declaration
    lock_path: Path
    model: Model
    parts: tuple[Part, ...]
    folder: Path

    def files(self) -> list[SourceFile]:
        """Return the files of the parts, as far as their repositories are pinned."""
        return source_files(self.declaration, read_lock(self.lock_path), self.parts)

    def install(self, force: bool = False) -> None:
        """Make the folder complete: pin, fetch what is missing, verify, link; the record last.

        With `force` everything is fetched again. What is complete is left as it is, in seconds.

        Raises:
            ClipError: something cannot be pinned, fetched or linked, or is not what it should be.
        """
        self._pin()
        files = self.files()
        verified = VerifiedFiles(self.folder)
        first = {file for file in files if describes_weights(file)}
        self._bring(list(first), verified, force)
        check_before_fetching(self.model, Cache.at(self.declaration.cache), files)
        self._bring([file for file in files if file not in first], verified, force)
        self._link(files)
        check_headers(self.folder)
        if self.model.layout == "diffusers":
            from animate.hub.architecture import check_architecture

            check_architecture(self.folder)
            (index,) = (file.path for file in files if file.place == INDEX)
            _write(self.folder / INDEX, index.read_text("utf-8"))
        self._record(files)

    def unpinned(self) -> list[str]:
        """Return the names of the parts whose files are not known yet."""
        known = {file.part for file in self.files()}
        return [part.name for part in self.parts if part.name not in known]

    def faults(self) -> dict[SourceFile, str]:
        """Hash every file that is pinned; return the bad ones, each with what is wrong."""
        return hash_files(self.files(), VerifiedFiles(self.folder), only_new=False)

    def mend(self, bad: Iterable[SourceFile]) -> None:
        """Fetch the files again, as far as they come from the hub."""
        self._fetch(list(bad), VerifiedFiles(self.folder), force=True)

    def _pin(self) -> None:
        needed: dict[str, list[tuple[str, ...]]] = {}
        for part in self.parts:
            if not self.declaration.repositories[part.repository].path:
                needed.setdefault(part.repository, []).extend(part.files)
        for name, entries in needed.items():
            pinned(self.declaration, self.lock_path, name, entries)

    def _bring(self, files: list[SourceFile], verified: VerifiedFiles, force: bool = False) -> None:
        """Have the files in the cache, each with the content that is pinned."""
        self._fetch(files, verified, force)
        # A folder of the user's may hold weights of the user's: only its headers are checked.
        bad = hash_files([file for file in files if file.hub_file], verified, only_new=True)
        self._fetch(list(bad), verified, force=True)

    def _fetch(self, files: list[SourceFile], verified: VerifiedFiles, force: bool) -> None:
        absent = [f for f in files if f.hub_file and (force or not has_size(f.path, f.size))]
        cache = Cache.at(self.declaration.cache)
        wanted = [file.hub_file for file in absent]
        for file in fetch(f"model {self.model.name}", cache, wanted, force):
            verified.add(cache.path(file))
        verified.save()

    def _link(self, files: Iterable[SourceFile]) -> None:
        places = {self.folder / file.place: file.path for file in files if file.place != INDEX}
        # Another commit may have cut the weights into other files.
        for part in self.parts:
            root = self.folder / part.folder
            shown = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_symlink()}
            for name in matches(shown, part.patterns):
                if shown[name] not in places:
                    shown[name].unlink()
        for place, path in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_link(place, path.absolute())

    def _record(self, files: Iterable[SourceFile]) -> None:
        lock = read_lock(self.lock_path)
        path = self.folder / RECORD
        record = json.loads(path.read_text("utf-8")) if path.exists() else {}
        record |= {
            part.name: {
                "repository": part.repository,
                **_origin(self.declaration, lock, part),
                "files": {f.place: f.pin and f.pin.sha256 for f in files if f.part == part.name},
            }
            for part in self.parts
        }
        _write(path, json.dumps(record, indent=2) + "\n")
        logging.info("model %s is complete in %s", self.model.name, self.folder)


def hash_files(
    files: Iterable[SourceFile], verified: VerifiedFiles, only_new: bool
) -> dict[SourceFile, str]:
    """Return the files whose content is not the pinned one, each with what is wrong.

    With `only_new`, files that were verified before and are unchanged since are not read. Files
    that have no pin are not read either.
    """
    files = [f for f in files if f.pin and not (only_new and f.path in verified)]
    progress = Progress("verified", sum(file.size for file in files))

    def check(file: SourceFile) -> str:
        return fault_of(file.path, file.pin, partial(progress.reach, file.place))

    faults = dict(zip(files, in_parallel(check, files, PARALLEL_CHECKS, progress), strict=True))
    for file, fault in faults.items():
        verified.discard(file.path) if fault else verified.add(file.path)
    verified.save()
    return {file: fault for file, fault in faults.items() if fault}


def _write(path: Path, text: str) -> None:
    # An unchanged file keeps its time, so that nothing that depends on it runs again.
    if not path.is_file() or path.read_text("utf-8") != text:
        with atomic_output(path) as temporary:
            temporary.write_text(text, "utf-8")


def _origin(declaration: Declaration, lock: dict, part: Part) -> dict[str, str]:
    path = declaration.repositories[part.repository].path
    if path:
        return {"path": str(path)}
    return {"revision": lock[part.repository].revision, "commit": lock[part.repository].commit}
