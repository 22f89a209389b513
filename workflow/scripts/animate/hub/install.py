"""A model's folder: links to its verified files, and the record of where they come from."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.hub.declared.declaration import (
    INDEX,
    MODULAR_INDEX,
    ONE_FILE,
    Declaration,
    Part,
)
from animate.hub.declared.lock import read_lock
from animate.hub.files import (
    ModelFile,
    cache_folder,
    fault_of,
    note_verified,
    part_files,
    verified_files,
)
from animate.hub.pin import pin
from animate.hub.preflight import DESCRIPTIONS, check_before_fetching
from animate.hub.progress import Progress, in_parallel
from animate.hub.transfer import bring, replace_link
from animate.weights.architecture import (
    check_architecture,
    check_headers,
    check_transformer_file,
)
from animate.weights.layout import RECORD, index_text


@dataclass(frozen=True)
class Installation:
    """Some parts of a model, and the folder that shows them under the names of the hub."""

    declaration: Declaration
    lock_path: Path
    name: str
    parts: dict[str, Part]
    folder: Path

    def files(self, *names: str) -> dict[str, ModelFile]:
        """Return the files of these parts, or of all, by their names in the folder.

        There are none of a part that is not pinned yet.
        """
        lock = read_lock(self.lock_path)
        files: dict[str, ModelFile] = {}
        for name in names or self.parts:
            files |= part_files(self.declaration, lock, self.parts[name])
        return files

    def install(self, force: bool = False) -> None:
        """Make the folder complete: pin, fetch what is missing, verify, link; the record last.

        With `force` everything is fetched again. What is complete is left as it is, in seconds.

        Raises:
            ClipError: something cannot be pinned, fetched or linked, or is not what it should be.
        """
        layout = self.declaration.models[self.name].layout
        pin(self.declaration, self.lock_path, self.parts.values())
        files = self.files()
        small = [file for place, file in files.items() if place.endswith(DESCRIPTIONS)]
        self.bring(small, force)
        kinds = {place: part.kind for n, part in self.parts.items() for place in self.files(n)}
        check_before_fetching(layout, files, kinds)
        self.bring((file for file in files.values() if file not in small), force)
        self._link(files)
        try:
            check_headers(self.folder)
            if layout == "diffusers":
                check_architecture(self.folder)
            for place, file in files.items() if layout == ONE_FILE else ():
                check_transformer_file(file.path, kinds[place])
        except ClipError as error:
            remedy = "run `snakemake verify_models`, or correct its source in config/models.yaml"
            raise ClipError(f"{error}; {remedy}") from error
        if INDEX in files:
            _write(self.folder / INDEX, files[INDEX].path.read_text("utf-8"))
        elif MODULAR_INDEX in files:
            # What waits for the model waits for the one name, and reads no more of it.
            _write(self.folder / INDEX, index_text(self.folder))
        self._record()

    def bring(self, files: Iterable[ModelFile], force: bool = False) -> None:
        """Have the files in the cache, as far as they come from the hub, each as pinned."""
        good = verified_files(self.folder)
        # A folder of the user's may hold weights of the user's: only its headers are checked.
        new = [f for f in files if f.commit and (force or f.path not in good)]
        if new:
            bring(f"model {self.name}", cache_folder(self.declaration), new, force)
            note_verified(self.folder, good=[file.path for file in new])

    def faults(self) -> dict[ModelFile, str]:
        """Hash every file that is pinned; return of each what is wrong, "" when nothing is."""
        files = [file for file in self.files().values() if file.pin]
        progress = Progress("hashed", sum(file.size for file in files))
        faults = in_parallel(lambda f: fault_of(f.path, f.pin, progress.update), files, progress)
        found = dict(zip(files, faults, strict=True))
        bad = [file.path for file, fault in found.items() if fault]
        note_verified(self.folder, [file.path for file in files], bad)
        return found

    def _link(self, files: dict[str, ModelFile]) -> None:
        # Another commit may have cut the weights into other files.
        for part in self.parts.values():
            root = self.folder / part.folder
            for link in (path for path in root.rglob("*") if path.is_symlink()):
                shown = str(link.relative_to(self.folder)) in files
                name = str(link.relative_to(root))
                if not shown and any(fnmatch(name, pattern) for pattern in part.patterns):
                    link.unlink()
        for place in files.keys() - {INDEX}:
            replace_link(self.folder / place, files[place].path.absolute())

    def _record(self) -> None:
        lock, path = read_lock(self.lock_path), self.folder / RECORD
        record = json.loads(path.read_text("utf-8")) if path.exists() else {}
        for name, part in self.parts.items():
            if own := self.declaration.repositories[part.repository].path:
                origin = {"path": str(own)}
            else:
                origin = lock[part.repository].model_dump(include={"revision", "commit"})
            hashes = {p: f.pin and f.pin.sha256 for p, f in self.files(name).items()}
            record[name] = {"repository": part.repository, **origin, "files": hashes}
        _write(path, json.dumps(record, indent=2) + "\n")
        logging.info("model %s is complete in %s", self.name, self.folder)


def _write(path: Path, text: str) -> None:
    # An unchanged file keeps its time, so that nothing that depends on it runs again.
    if not path.is_file() or path.read_text("utf-8") != text:
        with atomic_output(path) as temporary:
            temporary.write_text(text, "utf-8")
