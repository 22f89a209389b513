"""Skeletons are drawn exactly as the model was trained to see them."""

from pathlib import Path

import numpy as np
import pytest

from animate.pose.drawing import draw_pose

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "pose_drawing.npz")
CASES = sorted({name[:2] for name in GOLDEN})


@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_drawing(case):
    image = GOLDEN[f"{case}_image"]
    parts = (GOLDEN[f"{case}_{part}"] for part in ("body", "left_hand", "right_hand"))
    np.testing.assert_array_equal(draw_pose(image.shape[1::-1], *parts), image)


def test_points_that_are_not_finite_are_left_out():
    body, hand = np.full((20, 3), np.nan), np.full((21, 3), np.inf)
    assert not draw_pose((96, 64), body, hand, hand).any()


def test_drawing_does_not_change_its_input():
    body = GOLDEN["00_body"].copy()
    draw_pose((1280, 720), body, GOLDEN["00_left_hand"], GOLDEN["00_right_hand"])
    np.testing.assert_array_equal(body, GOLDEN["00_body"])
