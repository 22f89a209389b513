"""Masks through time: carried over short gaps, and calm from frame to frame; never over a cut."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain, islice, pairwise, repeat

import cv2
import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD

REACH = 2


def carried(
    masks: Iterable[np.ndarray],
    body: np.ndarray,
    seen: np.ndarray,
    shots: Sequence[int],
    longest: int,
) -> Iterator[np.ndarray]:
    """Yield the masks, those of short gaps made of the masks on both sides.

    `masks` are uint8 0/1 (h, w), `body` (N, 20, 3) the body points in their pixels, `seen` (N,)
    bool says where the person was seen, `shots` is the first frame of each shot. A gap is a run of
    frames without the person or without a mask. One of up to `longest` frames between two masks
    of a shot gets what either of them covers, moved and scaled with the body; any other gap is
    empty. Two masks are in memory, however long the clip.
    """
    for first, part in in_shots(masks, shots):
        known, missing = None, 0
        for number, mask in enumerate(part, first):
            if not (seen[number] and mask.any()):
                blank, missing = np.zeros_like(mask), missing + 1
                continue
            if known is not None and 0 < missing <= longest:
                ends = body[number - missing - 1], body[number]
                for step in range(1, missing + 1):
                    yield _between(known, mask, *ends, step / (missing + 1))
            else:
                yield from repeat(blank, missing) if missing else ()
            yield mask
            known, missing = mask, 0
        yield from repeat(blank, missing) if missing else ()


def steady(
    masks: Iterable[np.ndarray], shots: Sequence[int], reach: int = REACH
) -> Iterator[np.ndarray]:
    """Yield each mask united with those up to `reach` frames from it in its shot.

    `masks` are uint8 0/1 (h, w); `shots` is the first frame of each shot. An empty mask stays
    empty: there is no pose either. `2 * reach + 1` masks are in memory.
    """
    for _, part in in_shots(masks, shots):
        window = deque([None] * reach, maxlen=2 * reach + 1)
        for mask in chain(part, repeat(None, reach)):
            window.append(mask)
            if len(window) == window.maxlen:
                middle = window[reach]
                near = [mask for mask in window if mask is not None]
                yield reduce(np.bitwise_or, near) if middle.any() else middle


def in_shots(items: Iterable, shots: Sequence[int]) -> Iterator[tuple[int, Iterator]]:
    """Yield of each shot the number of its first frame and an iterator of its items.

    `shots` is the first frame of each shot, beginning with 0. The items of a shot have to be taken
    before the next one is asked for.
    """
    items = iter(items)
    for first, after in pairwise((*shots, None)):
        yield first, islice(items, None if after is None else after - first)


def _between(
    before: np.ndarray, after: np.ndarray, start: np.ndarray, end: np.ndarray, share: float
) -> np.ndarray:
    """Return what either mask covers when the body is at `share` of its way from start to end."""
    both = (start[:, 2] >= SCORE_THRESHOLD) & (end[:, 2] >= SCORE_THRESHOLD)
    if both.sum() < 2:
        return before | after
    places = [_place(points[both, :2]) for points in (start, end)]
    now = (1 - share) * places[0] + share * places[1]
    moved = (_moved(m, p, now) for m, p in zip((before, after), places, strict=True))
    return np.bitwise_or(*moved)


def _place(points: np.ndarray) -> np.ndarray:
    """Return centre x, y and size in pixels of points (n, 2)."""
    centre = points.mean(axis=0)
    return np.array([*centre, max(np.linalg.norm(points - centre, axis=1).mean(), 1)])


def _moved(mask: np.ndarray, place: np.ndarray, now: np.ndarray) -> np.ndarray:
    scale = now[2] / place[2]
    matrix = np.column_stack([scale * np.eye(2), now[:2] - scale * place[:2]])
    # A body that the frame cuts off goes on beyond its edge.
    return cv2.warpAffine(
        mask, matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
