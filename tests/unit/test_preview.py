"""The contact sheet has a tile for every moment and row."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from animate.pose.keypoints import stack
from animate.results.preview import (
    BORDER,
    COLUMNS,
    GAP,
    OUTLINES,
    TILE_WIDTH,
    moments,
    write_preview,
)

TILE = TILE_WIDTH + 2 * GAP


def clip(count: int):
    """Return frames that grow brighter, keypoints, face boxes, and poses of another shape."""
    frames = [np.full((90, 160, 3), min(20 + 10 * i, 250), np.uint8) for i in range(count)]
    parts = tuple(np.tile((0.5, 0.5, 1.0), (points, 1)) for points in (20, 21, 21, 69))
    poses = [np.full((64, 32, 3), 50 + number, np.uint8) for number in moments(count)]
    return frames, stack([parts] * count, [1] * count), np.tile((40, 20, 80, 60), (count, 1)), poses


@pytest.mark.parametrize(("count", "columns"), [(20, COLUMNS), (3, 3), (1, 1)])
def test_moments_are_spread_over_the_clip(tmp_path, count, columns):
    write_preview(tmp_path / "sheet.png", *clip(count))
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == columns * TILE
    assert sheet[GAP + 20, GAP + 20, 0] == 20
    assert sheet[GAP + 20, -GAP - 20, 0] == 20 + 10 * (count - 1)


def test_each_shot_has_a_column_and_a_line_before_it(tmp_path):
    shots = (0, 5, 7, 9, 11, 13, 20, 60)
    shown = moments(80, shots)
    assert len(shown) == 12 and {5, 6} & set(shown) and {9, 10} & set(shown)
    assert all(any(a <= frame < b for frame in shown) for a, b in pairwise([*shots, 80]))
    frames, keypoints, boxes, _ = clip(80)
    poses = [np.zeros((64, 32, 3), np.uint8)] * len(shown)
    write_preview(tmp_path / "sheet.png", frames, keypoints, boxes, poses, (), shots)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] == COLUMNS * TILE
    half = sheet.shape[0] // 2
    places = [(number // COLUMNS * half, number % COLUMNS * TILE) for number in range(16)]
    marked = [(sheet[y : y + half, x : x + GAP] == BORDER).all() for y, x in places]
    begins = [
        any(before < shot <= frame for shot in shots) for before, frame in pairwise([0, *shown])
    ]
    assert marked == begins + [False] * 4 and sum(marked) == 7


def test_rows_show_skeleton_face_outlines_and_pose(tmp_path):
    person, grown = np.zeros((2, 90, 160), np.uint8)
    person[40:50, 60:100] = grown[30:60, 40:120] = 1
    write_preview(tmp_path / "sheet.png", *clip(20), [[person] * COLUMNS, [grown] * COLUMNS])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    height = round(TILE_WIDTH * 90 / 160) + 2 * GAP
    pose_height = 2 * TILE_WIDTH + 2 * GAP
    assert sheet.shape[0] == 3 * height + TILE + pose_height
    assert np.ptp(sheet[height + GAP : 2 * height - GAP, GAP : TILE - GAP]) > 100
    assert np.ptp(sheet[2 * height + GAP : 2 * height + TILE - GAP, GAP : TILE - GAP]) == 0
    for colour, rows in zip(OUTLINES, (10, 30), strict=True):
        outline = (sheet[2 * height + TILE : -pose_height] == colour).all(axis=2)
        assert outline.any(axis=1).sum() == pytest.approx(height * rows / 90, abs=8)
    assert sheet[-GAP - 9, GAP + 9, 0] == 50 and sheet[-GAP - 9, -GAP - 9, 0] == 69
