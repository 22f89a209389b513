"""Skeletons are drawn exactly as the model was trained to see them."""

from pathlib import Path

import numpy as np
import pytest

from animate.config.settings import PoseSettings
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


def drawn(parts=("body", "left_hand", "right_hand"), unseen=(), **settings):
    """Draw the first case, with parts and points of the body left out by their scores."""
    points = {part: GOLDEN[f"00_{part}"].copy() for part in ("body", "left_hand", "right_hand")}
    for part in points.keys() - set(parts):
        points[part][:, 2] = 0
    points["body"][list(unseen), 2] = 0
    return draw_pose((1280, 720), *points.values(), PoseSettings(**settings))


# Nose, eyes and ears.
HEAD = (0, 14, 15, 16, 17)


@pytest.mark.parametrize(
    ("draw", "same"),
    [
        ("no_head", {"unseen": HEAD}),
        ("no_hands", {"parts": ("body",)}),
        ("body", {"parts": ("body",), "unseen": HEAD}),
    ],
)
def test_parts_that_are_not_to_be_drawn_are_left_out(draw, same):
    result = drawn(draw=draw)
    np.testing.assert_array_equal(result, drawn(**same))
    assert not np.array_equal(result, drawn())


def test_lines_are_as_wide_as_asked():
    official = 720 // 200 - 1
    np.testing.assert_array_equal(drawn(line_width=official), drawn())
    areas = [np.count_nonzero(drawn(line_width=width).any(axis=2)) for width in (1, 4, 12)]
    assert areas[0] * 1.5 < areas[1] and areas[1] * 1.5 < areas[2]
