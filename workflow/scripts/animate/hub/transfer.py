"""Files from the hub into the cache: resumed, in parallel, and only as what they should be."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from animate.errors import ClipError
from animate.hub.cache import Cache, has_size
from animate.hub.client import explained, patiently
from animate.hub.digest import fault_of
from animate.hub.lock import HubFile
from animate.hub.parallel import in_parallel
from animate.hub.progress import FileProgress, Progress

PARALLEL_FILES = 8
DAMAGED_ARRIVALS = 2


def fetch(
    subject: str, cache: Cache, files: Iterable[HubFile], force: bool = False
) -> list[HubFile]:
    """Bring files into the cache; return those that were fetched, each verified by its hash.

    `subject` is for messages. A file that is there with its full size is left alone, and not
    hashed, unless `force`. Two runs share the work:
    the second waits for a file that the first is fetching. What has arrived of a file survives any
    interruption.

    Raises:
        ClipError: the disk is too small, or a file is refused, absent or arrives damaged.
    """
    files = [f for f in files if force or not has_size(cache.path(f), f.pin.size)]
    if not files:
        return []
    cache.check_space(subject, sum(_bytes_to_come(cache, file, force) for file in files))
    progress = Progress("fetched", sum(file.pin.size for file in files))
    fetched = in_parallel(
        lambda file: _fetch_file(cache, file, progress, force), files, PARALLEL_FILES, progress
    )
    return [file for file, arrived in zip(files, fetched, strict=True) if arrived]


def _bytes_to_come(cache: Cache, file: HubFile, force: bool) -> int:
    if not force and has_size(cache.blob(file), file.pin.size):
        return 0
    part = cache.partial(file)
    return max(file.pin.size - (part.stat().st_size if part.exists() else 0), 0)


def _fetch_file(cache: Cache, file: HubFile, progress: Progress, force: bool) -> bool:
    """Link a file to its blob; return whether the blob had to be fetched."""
    blob, part = cache.blob(file), cache.partial(file)
    lock = cache.lock(file.repository, file.pin.blob)
    with explained(file.repository, file.name):
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            absent = force or not has_size(blob, file.pin.size)
            if absent:
                _fetch_whole(part, file, progress)
                part.replace(blob)
                logging.info("%s: fetched %s", file.repository, file.name)
        cache.point(file)
    return absent


def _fetch_whole(part: Path, file: HubFile, progress: Progress) -> None:
    for _ in range(DAMAGED_ARRIVALS):
        patiently(lambda: _resume(part, file, progress), file.name)
        fault = fault_of(part, file.pin)
        if not fault:
            return
        logging.warning("%s: %s arrived damaged (%s)", file.repository, file.name, fault)
        part.unlink()
    raise ClipError(
        f"repository {file.repository}, file {file.name} arrives damaged ({fault}): start again"
        " later, or run `snakemake update_models` if the file was replaced"
    )


def _resume(part: Path, file: HubFile, progress: Progress) -> None:
    """Append to the partial file what it lacks.

    `hf_hub_download` gives each attempt a partial file of its own, which nobody resumes.
    """
    if part.exists() and part.stat().st_size > file.pin.size:
        part.unlink()
    with part.open("ab") as body:
        http_get(
            hf_hub_url(file.repository, file.name, revision=file.commit),
            body,
            resume_size=os.fstat(body.fileno()).st_size,
            headers=build_hf_headers(),
            expected_size=file.pin.size,
            displayed_filename=file.name,
            tqdm_class=lambda initial=0, **_: FileProgress(
                progress, f"{file.repository}/{file.name}", initial
            ),
        )
