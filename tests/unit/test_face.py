"""Face crops lie where the official ones do, and follow the head."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from animate.pose.face import CROP_SIZE, HEAD_AND_SHOULDERS, crop_face, face_box, face_track
from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import EMPTY, Keypoints, faces_seen, stack

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "face_box.npz")
SIZE = (640, 360)
RATE = 24


def person(
    *centers: float | None, heads: Sequence[float] | None = None, absent: Sequence[int] = ()
) -> Keypoints:
    """Return a clip of faces 0.1 wide at these x, None: turned away, over shoulders.

    `heads` are the x of head and shoulders where they are not at the face.
    """
    ring = np.linspace(0, 2 * np.pi, 69)
    people = []
    for number, center in enumerate(centers):
        body, left, right, face = (part.copy() for part in EMPTY)
        where = heads[number] if heads is not None else center
        if where is not None:
            body[HEAD_AND_SHOULDERS, :] = np.column_stack(
                [where + np.array((0, -0.04, 0.04, -0.1, 0.1)), (0.5, 0.5, 0.5, 0.7, 0.7), [1] * 5]
            )
        if center is not None:
            face[:] = np.column_stack(
                [center + 0.05 * np.cos(ring), 0.5 + 0.1 * np.sin(ring), np.ones(69)]
            )
        people.append(None if number in absent else (body, left, right, face))
    return stack(people, [1] * len(people))


def middles(boxes: np.ndarray) -> np.ndarray:
    """Return the x of the boxes' middles in 0..1, NaN where the crop is black."""
    middle = (boxes[:, 0] + boxes[:, 2]) / 2 / SIZE[0]
    return np.where(boxes.any(axis=1), middle, np.nan)


@pytest.mark.parametrize("case", range(len(GOLDEN["keypoints"])))
def test_equals_the_official_box(case):
    height, width, x1, x2, y1, y2 = GOLDEN["size_and_box"][case]
    assert face_box(GOLDEN["keypoints"][case], (width, height)) == (x1, y1, x2, y2)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("away", [range(10, 30), range(24), range(40, 60)])
def test_the_crop_follows_the_head_while_the_face_is_turned_away(away, smooth):
    heads = np.linspace(0.2, 0.8, 60)
    centers = [None if n in away else x for n, x in enumerate(heads)]
    boxes = face_track(person(*centers, heads=heads), SIZE, RATE, smooth=smooth)
    assert np.abs(middles(boxes) - heads).max() < 0.01
    assert np.abs(np.diff(boxes[:, 2] - boxes[:, 0])).max() <= 3


def test_nothing_leaps_when_the_face_comes_back_at_another_place():
    """A head that turns has its face at other sides of it."""
    centers = [0.3] * 10 + [None] * 20 + [0.36] * 10
    boxes = face_track(person(*centers, heads=[0.33] * 40), SIZE, RATE, smooth=False)
    assert np.abs(np.diff(middles(boxes))).max() < 0.005


def test_after_a_second_without_the_face_the_crop_is_black_until_it_is_back():
    heads = np.linspace(0.2, 0.8, 120)
    centers = [None if 20 <= n < 90 else x for n, x in enumerate(heads)]
    for smooth in (False, True):
        boxes = face_track(person(*centers, heads=heads), SIZE, RATE, smooth=smooth)
        black = np.isnan(middles(boxes))
        assert np.flatnonzero(black).tolist() == [*range(20 + RATE, 90)]
        assert np.abs(middles(boxes) - heads)[~black].max() < 0.01
    late = face_track(person(*[None] * 50, *heads[50:], heads=heads), SIZE, RATE)
    assert np.flatnonzero(np.isnan(middles(late))).tolist() == [*range(50 - RATE)]


def test_where_the_person_is_absent_the_crop_is_black_and_where_bridged_it_is_not():
    keypoints = person(*np.linspace(0.3, 0.6, 60), absent=[10, 11, 12, *range(30, 50)])
    boxes = face_track(bridge_gaps(keypoints, RATE), SIZE, RATE)
    assert np.flatnonzero(np.isnan(middles(boxes))).tolist() == [*range(30, 50)]
    assert np.abs(np.diff(middles(boxes)[:30])).max() < 0.01


def test_no_box_is_carried_over_a_cut():
    heads = [0.2] * 20 + [0.7] * 20
    away = [20, 21, 22, 39]
    centers = [None if n in away else x for n, x in enumerate(heads)]
    boxes = face_track(person(*centers, heads=heads), SIZE, RATE, (0, 20))
    assert np.abs(middles(boxes) - heads).max() < 0.005
    nobody = face_track(person(*[0.2] * 20, *[None] * 20, heads=heads), SIZE, RATE, (0, 20))
    assert not nobody[20:].any() and nobody[:20].any()


def test_a_face_that_turns_away_counts_as_hidden_though_networks_still_score_its_points():
    keypoints = person(0.3, 0.6, heads=[0.3, 0.3])
    rng = np.random.default_rng(0)
    keypoints.face[1] = np.column_stack([rng.random((69, 2)), rng.uniform(0.01, 0.08, 69)])
    boxes = face_track(keypoints, SIZE, RATE)
    assert (boxes[1] == boxes[0]).all() and faces_seen(keypoints.face).tolist() == [True, False]


def test_without_any_face_the_crop_is_black():
    boxes = face_track(person(None, None), SIZE, RATE)
    crop = crop_face(np.full((360, 640, 3), 200, np.uint8), boxes[1])
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3) and not crop.any()


@pytest.mark.parametrize("face", [np.nan, np.inf, 3.0, -3.0, 0.5])
def test_no_box_for_points_that_make_none(face):
    assert face_box(np.full((69, 2), face), SIZE) is None


def test_boxes_of_a_face_at_the_border_can_be_cut():
    for x in (-0.02, 0.0, 1.0, 1.02):
        for box in face_track(person(x, x + 0.01), SIZE, RATE):
            assert crop_face(np.full((360, 640, 3), 9, np.uint8), box).mean() == 9


def test_smoothing_steadies_the_box():
    rng = np.random.default_rng(0)
    keypoints = person(*(0.5 + 0.005 * rng.standard_normal(60)))
    raw, smooth = (face_track(keypoints, SIZE, RATE, smooth=s) for s in (False, True))
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(raw, axis=0)).mean()


def test_smoothing_does_not_lag_behind_a_moving_face():
    keypoints = person(*np.linspace(0.2, 0.8, 48))
    raw, smooth = (face_track(keypoints, SIZE, RATE, smooth=s) for s in (False, True))
    assert np.abs(raw - smooth)[6:-6].max() <= 3


def test_points_without_a_place_do_not_widen_the_crop():
    """Points of the user's may lack some: those score 0, and lie at 0, 0."""
    keypoints = person(*[0.5] * 10)
    whole = face_track(keypoints, SIZE, RATE)
    keypoints.face[4:6, 1:4] = 0
    assert np.abs(face_track(keypoints, SIZE, RATE) - whole).max() <= 4
