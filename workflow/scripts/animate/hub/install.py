"""A model's folder: links to its verified files, and the record of where they come from."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.declared.declaration import INDEX, Declaration, Part
from animate.hub.declared.lock import part_content, read_lock
from animate.hub.files import (
    ModelFile,
    cache_folder,
    fault_of,
    model_files,
    note_verified,
    verified_files,
)
from animate.hub.pin import pin
from animate.hub.preflight import DESCRIPTIONS, check_before_fetching
from animate.hub.progress import Progress, in_parallel
from animate.hub.transfer import bring, replace_link
from animate.weights.architecture import check_architecture, check_headers
from animate.weights.layout import RECORD


@dataclass(frozen=True)
class Installation:
    """Some parts of a model, and the folder that shows them under the names of the hub."""

    declaration: Declaration
    lock_path: Path
    name: str
    parts: dict[str, Part]
    folder: Path

    def files(self) -> list[ModelFile]:
        """Return the files of the parts, as far as they are pinned."""
        return model_files(self.declaration, read_lock(self.lock_path), self.parts)

    def install(self, force: bool = False) -> None:
        """Make the folder complete: pin, fetch what is missing, verify, link; the record last.

        With `force` everything is fetched again. What is complete is left as it is, in seconds.

        Raises:
            ClipError: something cannot be pinned, fetched or linked, or is not what it should be.
        """
        layout = self.declaration.models[self.name].layout
        pin(self.declaration, self.lock_path, self.parts.values())
        files = self.files()
        small = [file for file in files if file.name.endswith(DESCRIPTIONS)]
        self.bring(small, force)
        check_before_fetching(layout, files)
        self.bring([file for file in files if file not in small], force)
        self._link(files)
        try:
            check_headers(self.folder)
            if layout == "diffusers":
                check_architecture(self.folder)
        except ClipError as error:
            remedy = "run `snakemake verify_models`, or correct its source in config/models.yaml"
            raise ClipError(f"{error}; {remedy}") from error
        for file in files:
            if file.place == INDEX:
                _write(self.folder / INDEX, file.path.read_text("utf-8"))
        self._record(files)

    def bring(self, files: Iterable[ModelFile], force: bool = False) -> None:
        """Have the files in the cache, as far as they come from the hub, each as pinned."""
        good = verified_files(self.folder)
        # A folder of the user's may hold weights of the user's: only its headers are checked.
        new = [f for f in files if f.commit and (force or f.path not in good)]
        if new:
            bring(f"model {self.name}", cache_folder(self.declaration), new, force)
            note_verified(self.folder, good=[file.path for file in new])

    def unpinned(self) -> list[str]:
        """Return the names of the parts whose files are not known yet."""
        lock = read_lock(self.lock_path)
        return [n for n, p in self.parts.items() if not part_content(self.declaration, lock, p)]

    def faults(self) -> dict[ModelFile, str]:
        """Hash every file that is pinned; return the bad ones, each with what is wrong."""
        files = [file for file in self.files() if file.pin]
        progress = Progress("hashed", sum(file.size for file in files))
        faults = in_parallel(lambda f: fault_of(f.path, f.pin, progress.update), files, progress)
        bad = {file: fault for file, fault in zip(files, faults, strict=True) if fault}
        note_verified(self.folder, [file.path for file in files], [file.path for file in bad])
        return bad

    def _link(self, files: Iterable[ModelFile]) -> None:
        places = {self.folder / file.place: file.path for file in files if file.place != INDEX}
        # Another commit may have cut the weights into other files.
        for part in self.parts.values():
            root = self.folder / part.folder
            for link in (p for p in root.rglob("*") if p.is_symlink() and p not in places):
                if any(fnmatch(str(link.relative_to(root)), p) for p in part.patterns):
                    link.unlink()
        for place, path in places.items():
            replace_link(place, path.absolute())

    def _record(self, files: Iterable[ModelFile]) -> None:
        lock, path = read_lock(self.lock_path), self.folder / RECORD
        record = json.loads(path.read_text("utf-8")) if path.exists() else {}
        for name, part in self.parts.items():
            if own_folder := self.declaration.repositories[part.repository].path:
                origin = {"path": str(own_folder)}
            else:
                origin = lock[part.repository].model_dump(include={"revision", "commit"})
            hashes = {f.place: f.pin and f.pin.sha256 for f in files if f.part == name}
            record[name] = {"repository": part.repository, **origin, "files": hashes}
        _write(path, json.dumps(record, indent=2) + "\n")
        logging.info("model %s is complete in %s", self.name, self.folder)


def _write(path: Path, text: str) -> None:
    # An unchanged file keeps its time, so that nothing that depends on it runs again.
    if not path.is_file() or path.read_text("utf-8") != text:
        with atomic_output(path) as temporary:
            temporary.write_text(text, "utf-8")
