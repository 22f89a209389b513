"""A model's folder: links to its verified files, and the record of where they come from."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.utils import filter_repo_objects

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.declared.declaration import INDEX, Declaration, Model, Part
from animate.hub.declared.lock import read_lock
from animate.hub.files import ModelFile, VerifiedFiles, cache_folder, fault_of, model_files
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
    model: Model
    parts: tuple[Part, ...]
    folder: Path

    def files(self) -> list[ModelFile]:
        """Return the files of the parts, as far as their repositories are pinned."""
        return model_files(self.declaration, read_lock(self.lock_path), self.parts)

    def install(self, force: bool = False) -> None:
        """Make the folder complete: pin, fetch what is missing, verify, link; the record last.

        With `force` everything is fetched again. What is complete is left as it is, in seconds.

        Raises:
            ClipError: something cannot be pinned, fetched or linked, or is not what it should be.
        """
        for repository in {part.repository: None for part in self.parts}:
            if not self.declaration.repositories[repository].path:
                needed = [f for p in self.parts if p.repository == repository for f in p.files]
                pin(self.declaration, self.lock_path, repository, needed)
        files = self.files()
        small = [file for file in files if file.name.endswith(DESCRIPTIONS)]
        self.bring(small, force)
        check_before_fetching(self.model.layout, files)
        self.bring([file for file in files if file not in small], force)
        self._link(files)
        try:
            check_headers(self.folder)
            if self.model.layout == "diffusers":
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
        verified = VerifiedFiles(self.folder)
        # A folder of the user's may hold weights of the user's: only its headers are checked.
        new = [f for f in files if f.commit and (force or f.path not in verified)]
        if new:
            bring(f"model {self.model.name}", cache_folder(self.declaration), new, force)
            verified.save(good=[file.path for file in new])

    def unpinned(self) -> list[str]:
        """Return the names of the parts whose files are not known yet."""
        known = {file.part for file in self.files()}
        return [part.name for part in self.parts if part.name not in known]

    def faults(self) -> dict[ModelFile, str]:
        """Hash every file that is pinned; return the bad ones, each with what is wrong."""
        files = [file for file in self.files() if file.pin]
        progress = Progress("hashed", sum(file.size for file in files))
        faults = in_parallel(lambda f: fault_of(f.path, f.pin, progress.update), files, progress)
        bad = {file: fault for file, fault in zip(files, faults, strict=True) if fault}
        good = [file.path for file in files if file not in bad]
        VerifiedFiles(self.folder).save(good, [file.path for file in bad])
        return bad

    def _link(self, files: Iterable[ModelFile]) -> None:
        places = {self.folder / file.place: file.path for file in files if file.place != INDEX}
        # Another commit may have cut the weights into other files.
        for part in self.parts:
            root = self.folder / part.folder
            shown = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_symlink()}
            for name in filter_repo_objects(shown, allow_patterns=list(part.patterns)):
                if shown[name] not in places:
                    shown[name].unlink()
        for place, path in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_link(place, path.absolute())

    def _record(self, files: Iterable[ModelFile]) -> None:
        lock = read_lock(self.lock_path)
        path = self.folder / RECORD
        record = json.loads(path.read_text("utf-8")) if path.exists() else {}
        for part in self.parts:
            if own_folder := self.declaration.repositories[part.repository].path:
                origin = {"path": str(own_folder)}
            else:
                locked = lock[part.repository]
                origin = {"revision": locked.revision, "commit": locked.commit}
            hashes = {f.place: f.pin and f.pin.sha256 for f in files if f.part == part.name}
            record[part.name] = {"repository": part.repository, **origin, "files": hashes}
        _write(path, json.dumps(record, indent=2) + "\n")
        logging.info("model %s is complete in %s", self.model.name, self.folder)


def _write(path: Path, text: str) -> None:
    # An unchanged file keeps its time, so that nothing that depends on it runs again.
    if not path.is_file() or path.read_text("utf-8") != text:
        with atomic_output(path) as temporary:
            temporary.write_text(text, "utf-8")
