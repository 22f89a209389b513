"""The model's grid: of a mask it reads one value for each cell of 8x8 pixels.

The grid begins at the upper left corner of the model's frame, whose sides are multiples of 16, so
letterboxed pictures and odd sources have no part in it. What a cell shows is one latent: a cell
that is partly black but counts as known teaches the model a black edge.
"""

import numpy as np

from animate.matte.growth import background

CELL = 8


def whole_cells(mask: np.ndarray) -> np.ndarray:
    """Return `mask` (h, w) uint8 0/1 with each cell filled that it touches; h and w are in 8s."""
    height, width = mask.shape
    # Rows first: reducing along the longer strides is several times as fast.
    rows = mask.reshape(height // CELL, CELL, width).max(axis=1)
    return spread(rows.reshape(height // CELL, width // CELL, CELL).max(axis=2))


def covered_cells(mask: np.ndarray) -> np.ndarray:
    """Return `mask` (h, w) uint8 0/1 as whole cells: those of which it covers at least half."""
    height, width = mask.shape
    parts = mask.reshape(height // CELL, CELL, width // CELL, CELL)
    return spread((2 * parts.sum(axis=(1, 3)) >= CELL * CELL).astype(np.uint8))


def cells(mask: np.ndarray) -> np.ndarray:
    """Return what the model reads of `mask` (..., h, w): (..., h / 8, w / 8), the first pixels."""
    return mask[..., ::CELL, ::CELL]


def spread(values: np.ndarray) -> np.ndarray:
    """Return cells (h / 8, w / 8) as pixels (h, w)."""
    return values.repeat(CELL, axis=0).repeat(CELL, axis=1)


def known_scene(frame: np.ndarray, mask: np.ndarray, grid: str) -> np.ndarray:
    """Return `frame` (h, w, 3) uint8 black where the model takes it for unknown by `mask` (h, w).

    `grid` is the setting `mask_grid`. With cells, those are black that the model reads as masked,
    whatever the mask's file did to their other pixels.
    """
    return background(frame, spread(cells(mask)) if grid == "cells" else mask)
