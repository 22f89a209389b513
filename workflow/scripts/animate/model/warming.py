"""Weights brought into the system's cache of files while Python still imports its libraries.

Without torch, so that it can start at once. Reading them later is then reading from memory.
"""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from animate.model.prepared import transformer_folder

PIECE, THREADS = 16 << 20, 4
# Parts of a model in the order in which a sampler reads them.
OTHER_PARTS = ("image_encoder", "vae")
# Files that take more than this part of the free memory would push each other out.
MOST_MEMORY = 0.8


def warm(settings: Path, staged: Path | None) -> None:
    """Start to read what a settings file's job will load, beside this process's other work.

    Only a help: whatever goes wrong is left for the sampler to say.
    """
    threading.Thread(target=_warm, args=(settings, staged), daemon=True).start()


def _warm(settings: Path, staged: Path | None) -> None:
    try:
        model = staged or Path(json.loads(settings.read_text("utf-8"))["model"])
        folders = [transformer_folder(model, exact=False), *(model / p for p in OTHER_PARTS)]
        files = [f for folder in folders for f in sorted(folder.glob("*.safetensors"))]
        sizes = {file: file.stat().st_size for file in files}
        if sum(sizes.values()) > MOST_MEMORY * _free_memory():
            return
        pieces = chain.from_iterable(
            ((file, start) for start in range(0, size, PIECE)) for file, size in sizes.items()
        )
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(_read, pieces))
    except (OSError, ValueError, KeyError, RuntimeError):
        return


def _read(piece: tuple[Path, int]) -> None:
    path, start = piece
    handle = os.open(path, os.O_RDONLY)
    try:
        os.pread(handle, PIECE, start)
    finally:
        os.close(handle)


def _free_memory() -> int:
    """Return the bytes that the system can give away, the files it keeps included."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) << 10
