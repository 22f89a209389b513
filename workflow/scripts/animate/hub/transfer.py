"""Files from the hub into the cache: resumed, in parallel, and only as what they should be."""

import logging
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from huggingface_hub import hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from animate.errors import ClipError
from animate.hub.cache import Cache
from animate.hub.client import explained, patiently
from animate.hub.digest import fault_of
from animate.hub.lock import LockedFile, LockedRepository
from animate.hub.parallel import in_parallel
from animate.hub.progress import FileProgress, Progress

PARALLEL_FILES = 8
DAMAGED_ARRIVALS = 2

Wanted = Iterable[tuple[str, LockedRepository, str]]


def missing_bytes(cache: Cache, wanted: Wanted) -> int:
    """Return how many bytes of the wanted (repository, pin, file name) are still to come."""
    total = 0
    for repository, locked, name in wanted:
        file = locked.files[name]
        if not _is_whole(cache.blob(repository, file), file):
            waiting = cache.partial(repository, file)
            total += file.size - (min(waiting.stat().st_size, file.size) if waiting.exists() else 0)
    return total


def fetch(model: str, cache: Cache, wanted: Wanted, force: bool = False) -> None:
    """Bring the wanted (repository, pin, file name) into the cache, each verified by its hash.

    A file that is there with its full size is left alone, unless `force`. Two runs share the work:
    the second waits for a file that the first is fetching. What has arrived of a file survives any
    interruption.

    Raises:
        ClipError: the disk is too small, or a file is refused, absent or arrives damaged.
    """
    wanted = [
        (repository, locked, name)
        for repository, locked, name in wanted
        if force or not cache.has(repository, locked.commit, name, locked.files[name])
    ]
    if not wanted:
        return
    if force:
        needed = sum(locked.files[name].size for _, locked, name in wanted)
    else:
        needed = missing_bytes(cache, wanted)
    cache.check_space(model, needed)
    progress = Progress("fetched", sum(locked.files[name].size for _, locked, name in wanted))
    in_parallel(
        lambda file: _fetch_file(cache, *file, progress, force), wanted, PARALLEL_FILES, progress
    )


def _fetch_file(
    cache: Cache,
    repository: str,
    locked: LockedRepository,
    name: str,
    progress: Progress,
    force: bool,
) -> None:
    file = locked.files[name]
    blob, part = cache.blob(repository, file), cache.partial(repository, file)
    lock = cache.lock(repository, file.blob)
    with explained(repository, name):
        for folder in (blob.parent, lock.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if force:
                part.unlink(missing_ok=True)
            if force or not _is_whole(blob, file):
                _fetch_whole(part, repository, locked.commit, name, file, progress)
                part.replace(blob)
                logging.info("%s: fetched %s", repository, name)
        cache.point(repository, locked.commit, name, file)


def _is_whole(path: Path, file: LockedFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _fetch_whole(
    part: Path, repository: str, commit: str, name: str, file: LockedFile, progress: Progress
) -> None:
    for _ in range(DAMAGED_ARRIVALS):
        patiently(partial(_resume, part, repository, commit, name, file, progress), name)
        fault = fault_of(part, file)
        if not fault:
            return
        logging.warning("%s: %s arrived damaged (%s)", repository, name, fault)
        part.unlink()
    raise ClipError(
        f"repository {repository}, file {name} arrives damaged ({fault}): start again later, or run"
        " `snakemake update_models` if the file was replaced"
    )


def _resume(
    part: Path, repository: str, commit: str, name: str, file: LockedFile, progress: Progress
) -> None:
    """Append to the partial file what it lacks.

    `hf_hub_download` gives each attempt a partial file of its own, which nobody resumes.
    """
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    with part.open("ab") as body:
        http_get(
            hf_hub_url(repository, name, revision=commit),
            body,
            resume_size=os.fstat(body.fileno()).st_size,
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=name,
            tqdm_class=lambda initial=0, **_: FileProgress(
                progress, f"{repository}/{name}", initial
            ),
        )
