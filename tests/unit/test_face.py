"""Face crops lie where the official ones do, and there is always one."""

from pathlib import Path

import numpy as np
import pytest

from animate.pose.face import CROP_SIZE, crop_face, face_box, face_track
from animate.pose.keypoints import faces_seen

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "face_box.npz")
SIZE = (640, 360)


def faces_at(*centers: float | None) -> np.ndarray:
    """Return faces (N, 69, 3) 0.1 wide at these x, None: not seen."""
    ring = np.linspace(0, 2 * np.pi, 69)
    faces = np.zeros((len(centers), 69, 3))
    for face, center in zip(faces, centers, strict=True):
        if center is not None:
            face[:] = np.column_stack(
                [center + 0.05 * np.cos(ring), 0.5 + 0.1 * np.sin(ring), np.ones(69)]
            )
    return faces


@pytest.mark.parametrize("case", range(len(GOLDEN["keypoints"])))
def test_equals_the_official_box(case):
    height, width, x1, x2, y1, y2 = GOLDEN["size_and_box"][case]
    assert face_box(GOLDEN["keypoints"][case], (width, height)) == (x1, y1, x2, y2)


def test_hidden_face_keeps_the_last_box_and_the_first_box_holds_before():
    boxes = face_track(faces_at(None, 0.3, None, 0.6, None), SIZE)
    assert (boxes[0] == boxes[1]).all() and (boxes[2] == boxes[1]).all()
    assert (boxes[4] == boxes[3]).all() and (boxes[3] != boxes[1]).any()


def test_a_face_that_turns_away_keeps_its_box_though_networks_still_score_its_points():
    faces = faces_at(0.3, 0.6)
    rng = np.random.default_rng(0)
    faces[1] = np.column_stack([rng.random((69, 2)), rng.uniform(0.01, 0.08, 69)])
    boxes = face_track(faces, SIZE)
    assert (boxes[1] == boxes[0]).all() and faces_seen(faces).tolist() == [True, False]


def test_without_any_face_the_crop_is_black():
    boxes = face_track(faces_at(None, None), SIZE, 24)
    crop = crop_face(np.full((360, 640, 3), 200, np.uint8), boxes[1])
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3) and not crop.any()


@pytest.mark.parametrize("face", [np.nan, np.inf, 3.0, -3.0, 0.5])
def test_no_box_for_points_that_make_none(face):
    assert face_box(np.full((69, 2), face), SIZE) is None


def test_boxes_of_a_face_at_the_border_can_be_cut():
    for x in (-0.02, 0.0, 1.0, 1.02):
        for box in face_track(faces_at(x, x + 0.01), SIZE, 24):
            assert crop_face(np.full((360, 640, 3), 9, np.uint8), box).mean() == 9


def test_smoothing_steadies_the_box():
    rng = np.random.default_rng(0)
    faces = faces_at(*(0.5 + 0.005 * rng.standard_normal(60)))
    raw, smooth = face_track(faces, SIZE), face_track(faces, SIZE, 24)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.5 * np.abs(np.diff(raw, axis=0)).mean()


def test_smoothing_does_not_lag_behind_a_moving_face():
    faces = faces_at(*np.linspace(0.2, 0.8, 48))
    raw, smooth = face_track(faces, SIZE), face_track(faces, SIZE, 24)
    assert np.abs(raw - smooth)[6:-6].max() <= 3
