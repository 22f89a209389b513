"""Files from the hub into the cache: resumed, in parallel, and only as what they should be.

`hf_hub_download` compares no digest and starts a file anew after a kill.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.utils import WeakFileLock

from animate.atomic import is_abandoned, process_label
from animate.errors import ClipError, MachineError
from animate.hub.client import content, explained
from animate.hub.files import ModelFile, fault_of
from animate.hub.progress import Progress, in_parallel, size_text

DAMAGED_ARRIVALS = 2
# Longer than any pause between two writes of a process that still fetches.
SILENT_SECONDS = 900


def bring(subject: str, cache: Path, files: list[ModelFile], force: bool = False) -> None:
    """Have files in the cache, each with its pinned content: hash what is there, fetch the rest.

    With `force` everything is fetched. What has arrived of a file survives any interruption.
    `subject` is for messages.

    Raises:
        ClipError: the disk is too small, or a file is refused, absent or arrives damaged.
    """
    absent = [file for file in files if force or not file.found()]
    needed = sum(f.size - max(map(_size, _partials(f.blob)), default=0) for f in absent)
    disk = next(path for path in (cache, *cache.parents) if path.exists())
    if needed > (free := shutil.disk_usage(disk).free):
        raise ClipError(
            f"{subject} needs {size_text(needed)} more and {cache} has {size_text(free)} free: free"
            " space, or move `cache` in config/models.yaml"
        )
    progress = Progress("fetched and hashed", sum(file.size for file in files))
    in_parallel(lambda file: _bring(file, cache, progress, force), files, progress)


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Wait for the process that has a lock, which may be doing the same work.

    Nothing but work is lost without it: Lustre and NFS may ignore a lock, have none, or keep that
    of a process which was killed.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(WeakFileLock(lock, timeout=SILENT_SECONDS))
        yield


def replace_link(path: Path, target: str | Path) -> None:
    """Make `path` a symbolic link to `target` in one step, whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def _bring(file: ModelFile, cache: Path, progress: Progress, force: bool) -> None:
    """Fetch a file where it is not as pinned, and link it to its blob."""
    lock = cache / ".locks" / file.blob.parents[1].name / f"{file.blob.name}.lock"
    with explained(file.repository, file.name):
        if not force and not fault_of(file.path, file.pin, progress.update):
            return
        with one_at_a_time(lock):
            if force or fault_of(file.blob, file.pin, progress.update):
                _fetch(file, progress)
        replace_link(file.path, os.path.relpath(file.blob, file.path.parent))


def _fetch(file: ModelFile, progress: Progress) -> None:
    part = _own_partial(file.blob)
    for _ in range(DAMAGED_ARRIVALS):
        # Each byte has its place, unlike in append mode: a second writer would write the same.
        with part.open("r+b") as body:
            start = body.seek(0, os.SEEK_END)
            progress.update(start)
            for chunk in content(file, start, file.size):
                body.write(chunk)
                progress.update(len(chunk))
        if not (fault := fault_of(part, file.pin, lambda count: None)):
            # It is gone when another name of the same content was faster.
            with contextlib.suppress(FileNotFoundError):
                part.replace(file.blob)
            logging.info("%s: fetched %s", file.repository, file.name)
            return
        logging.warning("%s: %s arrived damaged (%s)", file.repository, file.name, fault)
        os.truncate(part, 0)
    part.unlink(missing_ok=True)
    raise MachineError(
        f"repository {file.repository}, file {file.name} arrives damaged ({fault}): start again"
        " later, or run `snakemake update_models` if the file was replaced"
    )


def _own_partial(blob: Path) -> Path:
    """Return this process's partial file, which goes on where one that was left behind ends."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    own = blob.with_name(f"{blob.name}.{process_label()}.incomplete")
    own.touch()
    *shorter, longest = sorted(_partials(blob), key=_size)
    for part in shorter:
        part.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        longest.replace(own)
    return own


def _partials(blob: Path) -> Iterator[Path]:
    """Yield the partial files of this and of ended processes."""
    for part in blob.parent.glob(f"{blob.name}.*-*.incomplete"):
        label = part.stem.removeprefix(f"{blob.name}.")
        if label == process_label() or is_abandoned(part, label, SILENT_SECONDS):
            yield part


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
