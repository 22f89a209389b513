"""Whether a model is the right one, from the headers of its files, before the files are fetched."""

import logging
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from animate.errors import ClipError
from animate.hub.architecture import COMPONENTS, REMEDY, check_component, check_types
from animate.hub.cache import Cache, has_size
from animate.hub.declaration import ORIGINAL, Model
from animate.hub.headers import INDEX_SUFFIX, Header, tensors_of
from animate.hub.ranges import RangeIgnored, remote_tensors
from animate.hub.source import SourceFile

WEIGHTS = ".safetensors"
CONFIG = "config.json"


def describes_weights(file: SourceFile) -> bool:
    """Return whether a file is one of the small ones that `check_before_fetching` reads whole."""
    return file.name.endswith((CONFIG, INDEX_SUFFIX))


def check_before_fetching(model: Model, cache: Cache, files: Iterable[SourceFile]) -> None:
    """Check the safetensors files that are to be fetched for names, shapes, types and index.

    Of each only the header is read. Files that are in the cache are checked once they are linked;
    where a folder has some of them, its check reads those from there. A server that sends whole
    files only is not asked for more.

    Raises:
        ClipError: a file is no safetensors file, or not of the model; nothing large was fetched.
    """
    folders: dict[tuple[str, str], list[SourceFile]] = {}
    for file in files:
        if file.hub_file and (file.name.endswith(WEIGHTS) or describes_weights(file)):
            folder = str(PurePosixPath(file.name).parent)
            folders.setdefault((file.part, folder), []).append(file)
    try:
        for (part, folder), own in folders.items():
            if any(file.name.endswith(WEIGHTS) and _path(cache, file) is None for file in own):
                converted = any(p.convert for p in model.parts if p.name == part)
                kind = ORIGINAL if converted and folder == "." else folder
                _check_folder(cache, kind, own, model.layout)
    except RangeIgnored as error:
        logging.warning(
            "%s: the server sends no parts of files, so nothing is checked before the download",
            error,
        )


def _check_folder(cache: Cache, folder: str, files: list[SourceFile], layout: str) -> None:
    headers = {
        PurePosixPath(file.name).name: _header(cache, file)
        for file in files
        if file.name.endswith(WEIGHTS)
    }
    others = {PurePosixPath(f.name).name: f.path for f in files if not f.name.endswith(WEIGHTS)}
    component = layout == "diffusers" and folder in COMPONENTS
    if not (component or folder == ORIGINAL or any(name.endswith(INDEX_SUFFIX) for name in others)):
        return
    # Imported here because PyTorch takes seconds to load.
    import torch

    from animate.weights.convert import check_transformer, original_transformer
    from animate.weights.stored import StoredTensor, select_tensors, some_names, weight_map

    def tensors(name: str) -> list[StoredTensor]:
        return [
            StoredTensor(tensor, Path(name), torch.Size(shape), dtype)
            for tensor, (dtype, shape) in headers[name].items()
        ]

    source = (
        f"repository {files[0].hub_file.repository},"
        f" {some_names([file.name for file in files if file.name.endswith(WEIGHTS)], 1)}"
    )
    stored = select_tensors(
        source, [*headers, *others], lambda name: weight_map(others[name]), tensors, REMEDY
    )
    if component:
        check_component(source, folder, others.get(CONFIG, Path(CONFIG)), stored)
    if folder == ORIGINAL:
        try:
            check_transformer(source, stored, *original_transformer(source, stored))
        except ClipError as error:
            raise ClipError(f"{error}; {REMEDY}") from error
        check_types(source, stored)


def _header(cache: Cache, file: SourceFile) -> Header:
    path = _path(cache, file)
    return tensors_of(path) if path else remote_tensors(file.hub_file)


def _path(cache: Cache, file: SourceFile) -> Path | None:
    """Return where a file of the hub lies on disk already."""
    places = file.path, cache.blob(file.hub_file)
    return next((path for path in places if has_size(path, file.size)), None)
