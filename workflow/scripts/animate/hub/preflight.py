"""Whether a model is the right one, from the headers of its files, before the files are fetched."""

import logging
import os
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from huggingface_hub import constants

from animate.errors import ClipError
from animate.hub.client import RangeIgnored, content, explained
from animate.hub.declared.declaration import ONE_FILE, ORIGINAL
from animate.hub.files import ModelFile
from animate.weights.architecture import (
    check_architecture,
    check_headers,
    check_original,
    check_transformer_file,
)

WEIGHTS = ".safetensors"
# The small files that the check reads whole.
DESCRIPTIONS = "config.json", ".safetensors.index.json"
LENGTH_BYTES = 8
# Bytes of a GGUF file to look at, one after the other, until its header is among them.
GGUF_HEADERS = 1 << 16, 1 << 19, 1 << 22, 1 << 25
# More than any such file has; a hole takes no space.
MOST_BYTES = 1 << 37


def check_before_fetching(
    layout: str, files: Mapping[str, ModelFile], kinds: Mapping[str, str | None]
) -> None:
    """Check the weights that are to be fetched for names, shapes, types and index.

    `files` are by their names in the model's folder, and so are the `kinds` of transformer that are
    looked for where one file holds it, as far as that is known. Of each only the header is read;
    where a folder has some of its files, theirs are read from there. A server that sends whole
    files only is not asked for more.

    Raises:
        ClipError: a file is not sound, or not of the model; nothing large was fetched.
    """
    wanted = sorted(
        place
        for place, file in files.items()
        if file.commit and place.endswith((WEIGHTS, *DESCRIPTIONS))
    )
    try:
        if layout == ONE_FILE:
            for place, file in files.items():
                _check_file(file, kinds[place])
            return
        for folder, places in groupby(wanted, lambda place: str(PurePosixPath(place).parent)):
            _check_folder(layout, folder, {place: files[place] for place in places})
    except RangeIgnored as error:
        logging.warning(
            "%s: the server sends no parts of files, so nothing is checked before the download",
            error,
        )


def _check_folder(layout: str, folder: str, files: Mapping[str, ModelFile]) -> None:
    """Check a stand-in for the folder: links to what is there, headers of what is not."""
    weights = [file for place, file in files.items() if place.endswith(WEIGHTS)]
    if all(file.found() for file in weights):
        return
    with TemporaryDirectory() as root:
        for place, file in files.items():
            path = Path(root, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            if found := file.found():
                path.symlink_to(found.absolute())
            else:
                _fetch_header(file, path)
        try:
            check_headers(Path(root, folder))
            if layout == "diffusers":
                check_architecture(Path(root))
            if folder == ORIGINAL:
                check_original(Path(root, folder))
        except ClipError as error:
            more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
            raise ClipError(
                f"repository {weights[0].repository}, {weights[0].name}{more}:"
                f" {str(error).replace(f'{root}/', '')}; correct its source in config/models.yaml"
            ) from error


def _check_file(file: ModelFile, kind: str | None) -> None:
    """Check a stand-in for one file that holds a whole transformer, unless the file is there."""
    if not file.commit or file.found():
        return
    with TemporaryDirectory() as root:
        path = Path(root, PurePosixPath(file.name).name)
        fetch = _fetch_gguf_header if path.suffix == ".gguf" else _fetch_header
        fetch(file, path)
        try:
            check_transformer_file(path, kind)
        except ClipError as error:
            raise ClipError(
                f"repository {file.repository}, {file.name}: {str(error).replace(f'{root}/', '')};"
                " correct its source in config/models.yaml"
            ) from error


def _fetch_gguf_header(file: ModelFile, path: Path) -> None:
    """Write a GGUF file's beginning, and a hole after it, as below.

    Nothing in it says how long its header is: as much is fetched as it turns out to take.
    """
    # Imported here because PyTorch takes seconds to load.
    from animate.weights.transformer_file.gguf import header_end

    have = 0
    path.touch()
    for most in GGUF_HEADERS:
        end = min(most, file.size)
        with explained(file.repository, file.name), path.open("r+b") as target:
            target.seek(have)
            target.writelines(content(file, have, end))
            # Whether the tensors are whole is not asked yet.
            target.truncate(MOST_BYTES)
        have = end
        if header_end(path) <= have:
            break
    os.truncate(path, file.size)


def _fetch_header(file: ModelFile, path: Path) -> None:
    """Write a file's header, and a hole of the tensors' size after it, which takes no space.

    huggingface_hub's `parse_safetensors_file_metadata` compares nothing with the file's size.
    """
    with explained(file.repository, file.name), path.open("wb") as target:
        target.writelines(content(file, 0, min(LENGTH_BYTES, file.size)))
    length = int.from_bytes(path.read_bytes(), "little")
    with explained(file.repository, file.name), path.open("ab") as target:
        # A header that claims to be longer than the file is not read; the check then refuses it.
        if length <= min(constants.SAFETENSORS_MAX_HEADER_LENGTH, file.size - LENGTH_BYTES):
            target.writelines(content(file, LENGTH_BYTES, LENGTH_BYTES + length))
        target.truncate(file.size)
