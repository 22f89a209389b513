"""Weights brought into the system's cache of files while Python still imports its libraries.

Without torch, so that it can start at once. Reading them later is then reading from memory.
"""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from animate.devices.host_memory import free_host_memory
from animate.weights.identity import TRANSFORMER_FILE
from animate.weights.layout import staged_file
from animate.weights.prepared import rounded_alone, transformer_folder

PIECE, THREADS = 16 << 20, 4
# What a sampler reads of a model after the transformer.
OTHER_PARTS = ("vae",)
# Files that take more than this part of the free memory would push each other out.
MOST_MEMORY = 0.8
# A CPU holds weights in fp32, twice as large as most files.
FP32 = 2
# What a file that describes no job, or names no model, raises.
UNREADABLE = OSError, ValueError, KeyError, TypeError, AttributeError


def warm(settings: Path, staged: Path | None) -> None:
    """Start to read what a settings file's job will load, beside this process's other work.

    Only a help: whatever goes wrong is left for the sampler to say, and the process may end before
    all is read.
    """
    threading.Thread(target=_warm, args=(settings, staged), daemon=True).start()


def is_short(settings: Path) -> bool:
    """Tell whether the host's memory may be too small for what a settings file's job loads."""
    try:
        return FP32 * sum(_sizes(settings, None).values()) > free_host_memory()
    except UNREADABLE:
        return False


def _sizes(settings: Path, staged: Path | None) -> dict[Path, int]:
    """Return the bytes of each file of weights that a settings file's job loads."""
    job = json.loads(settings.read_text("utf-8"))
    model = staged or Path(job["model"])
    own = job.get("settings", {}).get(TRANSFORMER_FILE)
    copy = staged_file(staged, Path(own)) if own and staged else None
    files = [copy if copy and copy.is_file() else Path(own)] if own else []
    folders = []
    if not own:
        rounded = rounded_alone(Path(job["model"]), job.get("mode", ""), job.get("settings", {}))
        folders.append(transformer_folder(model, rounded))
    folders += [model / part for part in OTHER_PARTS]
    files += [f for folder in folders for f in sorted(folder.glob("*.safetensors"))]
    return {file: file.stat().st_size for file in files}


def _warm(settings: Path, staged: Path | None) -> None:
    try:
        sizes = _sizes(settings, staged)
        if sum(sizes.values()) > MOST_MEMORY * free_host_memory():
            return
    except UNREADABLE:
        return
    pieces: SimpleQueue[tuple[Path, int]] = SimpleQueue()
    for file, size in sizes.items():
        for start in range(0, size, PIECE):
            pieces.put((file, start))
    # No pool: its threads would have the process wait for them at its end.
    for _ in range(THREADS):
        threading.Thread(target=_read, args=(pieces,), daemon=True).start()


def _read(pieces: "SimpleQueue[tuple[Path, int]]") -> None:
    with suppress(Empty, OSError):
        while True:
            path, start = pieces.get_nowait()
            handle = os.open(path, os.O_RDONLY)
            try:
                os.pread(handle, PIECE, start)
            finally:
                os.close(handle)
