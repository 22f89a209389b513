"""Grow a person's mask, so that the new character is not bound to the old one's outline."""

import cv2
import numpy as np


def grow(mask: np.ndarray, *, iterations: int, kernel: int, w_len: int, h_len: int) -> np.ndarray:
    """Return `mask` (h, w) uint8 0/1 dilated and rounded up to blocks; an empty one stays empty.

    The mask is dilated `iterations` times by a square of `kernel` pixels; its bounding box is
    then divided into `w_len` columns and `h_len` rows, and each block the mask touches is
    filled (1 and 1: the whole box). With 0 iterations the mask is returned as it is.
    """
    if iterations == 0 or not mask.any():
        return mask.copy()
    grown = cv2.dilate(mask, np.ones((kernel, kernel), np.uint8), iterations=iterations)
    ys, xs = np.flatnonzero(grown.any(axis=1)), np.flatnonzero(grown.any(axis=0))
    for left, right in _blocks(int(xs[0]), int(xs[-1]), w_len):
        for top, bottom in _blocks(int(ys[0]), int(ys[-1]), h_len):
            block = grown[top:bottom, left:right]
            block[...] = block.any()
    return grown


def background(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return `frame` (h, w, 3) uint8 with the pixels of `mask` (h, w) 0/1 black."""
    return frame * (mask[..., None] == 0)


def _blocks(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Cut `first`..`last` (the end left out) into `count` blocks, and what remains of them."""
    size = max((last - first) // count, 1)
    return [(start, min(start + size, last)) for start in range(first, last, size)]
