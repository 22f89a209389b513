"""Pictures and points are placed in a frame alike."""

import numpy as np
import pytest

from animate.video.letterbox import Letterbox

SHAPES = [((1280, 720), (832, 480)), ((720, 1280), (1280, 720)), ((333, 500), (640, 640))]


@pytest.mark.parametrize(("source", "target"), SHAPES)
def test_points_land_where_the_picture_shows_them(source, target):
    place = Letterbox(source, target)
    picture = np.zeros((source[1], source[0], 3), np.uint8)
    x, y = source[0] // 3, source[1] // 4
    picture[y - 8 : y + 8, x - 8 : x + 8] = 255
    rows, columns, _ = np.nonzero(place.image(picture))
    point = np.array([x / source[0], y / source[1], 0.7])
    mapped = place.points(point)
    assert np.abs(mapped[:2] - (columns.mean() + 0.5, rows.mean() + 0.5)).max() < 1
    assert mapped[2] == 0.7


def test_padding_is_black_and_centred():
    framed = Letterbox((100, 100), (320, 160)).image(np.full((100, 100, 3), 255, np.uint8))
    columns = np.flatnonzero(framed.any(axis=(0, 2)))
    assert (columns[0], columns[-1]) == (80, 239)
    assert framed[:, 80:240].min() == 255


def test_a_picture_that_fits_is_unchanged():
    picture = np.arange(96 * 64, dtype=np.uint8).reshape(64, 96)
    np.testing.assert_array_equal(Letterbox((96, 64), (96, 64)).image(picture), picture)
