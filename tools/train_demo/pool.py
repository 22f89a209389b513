"""Many scenes at once, made by as many processes as there are cores."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2

from scenes import Scene, load_person, make_scene


def scenes(photograph: Path, mode: str, seeds: range) -> Iterator[Scene]:
    """Yield a scene for each seed, in order."""
    # A process that holds a GPU must not be forked.
    context = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, cv2.setNumThreads, (1,)) as workers:
        yield from workers.map(partial(_scene, photograph, mode), seeds, chunksize=8)


def _scene(photograph: Path, mode: str, seed: int) -> Scene:
    return make_scene(load_person(photograph), mode, seed)
