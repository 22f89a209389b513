"""COCO-WholeBody points split as officially; keypoints survive the file; bridged is not seen."""

from pathlib import Path

import numpy as np

from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import Keypoints, from_wholebody, in_sight, stack

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "wholebody_to_body20.npz")


def parts(value: float) -> tuple[np.ndarray, ...]:
    return tuple(np.full((points, 3), value) for points in (20, 21, 21, 69))


def test_equals_the_official_split():
    split = from_wholebody(GOLDEN["wholebody"])
    for name, found in zip(("body", "left_hand", "right_hand", "face"), split, strict=True):
        np.testing.assert_allclose(found, GOLDEN[name], atol=1e-12)


def test_file_keeps_every_value_and_has_the_same_bytes_twice(tmp_path):
    keypoints = stack([parts(0.25), None], [1, 0])
    for name in ("a.npz", "b.npz"):
        keypoints.save(tmp_path / name)
    loaded = Keypoints.load(tmp_path / "a.npz")
    for name, value in vars(keypoints).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_bridged_pose_says_nothing_about_where_the_person_is():
    keypoints = bridge_gaps(stack([parts(0.5), None, parts(0.5)], [1, 0, 1]), 24)
    assert keypoints.found.tolist() == [True, False, True] and keypoints.shown.all()
    assert keypoints.body[:, 0, 2].tolist() == [0.5] * 3
    assert keypoints.face_found.tolist() == [True, False, True]
    assert in_sight(keypoints).body[:, 0, 2].tolist() == [0.5, 0, 0.5]
