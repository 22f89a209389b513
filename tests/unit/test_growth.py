"""Masks grow as the official preprocessing grows them, and an empty one stays empty."""

from pathlib import Path

import numpy as np
import pytest

from animate.matte.growth import background, grow

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "mask_growth.npz")

OFFICIAL = {"iterations": 3, "kernel": 7, "w_len": 1, "h_len": 1}


@pytest.mark.parametrize("case", sorted({name[:2] for name in GOLDEN}))
def test_equals_the_official_growth(case):
    iterations, kernel, w_len, h_len = (int(value) for value in GOLDEN[f"{case}_params"])
    mask = GOLDEN[f"{case}_mask"]
    before = mask.copy()
    grown = grow(mask, iterations=iterations, kernel=kernel, w_len=w_len, h_len=h_len)
    np.testing.assert_array_equal(grown, GOLDEN[f"{case}_result"])
    np.testing.assert_array_equal(mask, before)


def test_empty_mask_stays_empty_and_keeps_the_picture():
    empty, frame = np.zeros((48, 64), np.uint8), np.full((48, 64, 3), 200, np.uint8)
    assert not grow(empty, **OFFICIAL).any()
    np.testing.assert_array_equal(background(frame, grow(empty, **OFFICIAL)), frame)


@pytest.mark.parametrize("blocks", [1, 7, 200])
def test_a_single_pixel_and_more_blocks_than_pixels(blocks):
    mask = np.zeros((48, 64), np.uint8)
    mask[20, 30] = 1
    grown = grow(mask, iterations=1, kernel=3, w_len=blocks, h_len=blocks)
    assert grown[20, 30] == 1 and grown.sum() == 9


def test_no_iterations_leave_the_mask():
    mask = np.eye(48, dtype=np.uint8)
    np.testing.assert_array_equal(grow(mask, **OFFICIAL | {"iterations": 0}), mask)


def test_background_is_black_where_the_mask_is():
    frame, mask = np.full((48, 64, 3), 200, np.uint8), np.zeros((48, 64), np.uint8)
    mask[:, :32] = 1
    shown = background(frame, mask)
    assert shown.dtype == np.uint8 and not shown[:, :32].any() and (shown[:, 32:] == 200).all()
