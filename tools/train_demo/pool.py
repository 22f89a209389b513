"""Many scenes at once, made by as many processes as there are cores."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2

from scenes import Scene, load_person, make_scene

# Scenes that wait for each core: a scene takes 15 MB.
AHEAD = 3


def scenes(photograph: Path, mode: str, seeds: range) -> Iterator[Scene]:
    """Yield a scene for each seed, in order; only a few are made ahead of those that are taken."""
    cores = len(os.sched_getaffinity(0))
    coming: deque[Future[Scene]] = deque()
    # A process that holds a GPU must not be forked.
    context = get_context("spawn")
    with ProcessPoolExecutor(cores, context, _start) as workers:
        for seed in seeds:
            coming.append(workers.submit(_scene, photograph, mode, seed))
            if len(coming) > AHEAD * cores:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _start() -> None:
    cv2.setNumThreads(1)
    # The training itself needs a core at once.
    os.nice(10)


def _scene(photograph: Path, mode: str, seed: int) -> Scene:
    return make_scene(load_person(photograph), mode, seed)
