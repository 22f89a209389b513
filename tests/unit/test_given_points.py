"""Points of the user's: npz and OpenPose JSON, checked, and out and in without a pixel's change."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animate.config.settings import PoseSettings
from animate.errors import ClipError
from animate.given.frame_files import write_frames
from animate.given.points import given_keypoints, openpose_frames
from animate.pose.drawing import draw_pose
from animate.pose.gaps import bridge_gaps
from animate.pose.keypoints import Keypoints, stack
from animate.pose.placed import placed_keypoints
from animate.video.source import Picture
from animate.video.timeline import Timeline

FRAMES = 12
# The model's frame has another shape than the driving video, as in mode animate.
TIMELINE = Timeline(
    frame_rate=Fraction(25),
    source_indices=tuple(range(FRAMES)),
    model_size=(208, 320),
    start=Fraction(0),
    picture=Picture((640, 360), "1", False, 1, None),
)
PARTS = ("body", "left_hand", "right_hand", "face")


@pytest.fixture
def keypoints() -> Keypoints:
    """Random points, with weak and hidden ones, a bridged gap, and frames of nobody."""
    random = np.random.default_rng(3)
    persons = [tuple(random.random((n, 3)) for n in (20, 21, 21, 69)) for _ in range(FRAMES)]
    for body, *_ in persons:
        body[random.random(20) < 0.2, 2] = 0
    persons[4] = persons[-1] = None
    found = bridge_gaps(stack(persons, [2] * FRAMES), 25)
    doubted = np.arange(FRAMES) == FRAMES - 1
    return replace(found, doubted=doubted)


def drawn(keypoints: Keypoints, smooth: bool) -> np.ndarray:
    placed = placed_keypoints(keypoints, TIMELINE, smooth)
    frames = zip(placed.body, placed.left_hand, placed.right_hand, strict=True)
    size, settings = TIMELINE.model_size, PoseSettings()
    return np.stack([draw_pose(size, *points, settings) for points in frames])


def exported(keypoints: Keypoints, folder):
    write_frames(folder, openpose_frames(keypoints, TIMELINE))
    return folder


def edit(file, change):
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_out_and_in_again_is_the_same_skeleton_to_the_pixel(keypoints, tmp_path):
    back = given_keypoints(exported(keypoints, tmp_path / "points"), TIMELINE)
    for smooth in (False, True):
        expected = drawn(keypoints, smooth)
        assert expected.any()
        np.testing.assert_array_equal(drawn(back, smooth), expected)
    for name in ("found", "bridged", "doubted", "people"):
        np.testing.assert_array_equal(getattr(back, name), getattr(keypoints, name))
    for name in PARTS:
        here, there = getattr(keypoints, name), getattr(back, name)
        first = int(name == "face")
        shown = here[:, first:, 2] > 0
        np.testing.assert_array_equal(there[:, first:][shown], here[:, first:][shown])
        assert not there[:, first:][~shown].any()


def test_one_file_with_a_list_is_as_good_as_a_folder(keypoints, tmp_path):
    frames = list(openpose_frames(keypoints, TIMELINE))
    (tmp_path / "all.json").write_text(json.dumps(frames))
    back = given_keypoints(tmp_path / "all.json", TIMELINE)
    np.testing.assert_array_equal(drawn(back, False), drawn(keypoints, False))


def test_hidden_files_of_file_managers_are_no_frames_and_no_edits(keypoints, tmp_path):
    folder = exported(keypoints, tmp_path / "points")
    for name in ("._000000.json", ".DS_Store"):
        (folder / name).write_bytes(b"\0\5\26\7")
    assert len(given_keypoints(folder, TIMELINE)) == FRAMES
    exported(keypoints, folder)


def test_files_are_in_the_order_of_their_numbers(keypoints, tmp_path):
    folder = exported(keypoints, tmp_path / "points")
    for number in range(FRAMES):
        (folder / f"{number:06d}.json").rename(folder / f"dance_{number}_keypoints.json")
    back = given_keypoints(folder, TIMELINE)
    np.testing.assert_array_equal(drawn(back, False), drawn(keypoints, False))


def openpose(points: int, **more) -> dict:
    """Return a frame as other programs write it, all points in one place, in a 1280x720 frame."""
    return {"people": [{"pose_keypoints_2d": [320, 180, 0.9] * points, **more}]}


@pytest.mark.parametrize("points", [18, 25])
@pytest.mark.parametrize(
    ("canvas", "place"),
    [({"canvas_width": 1280, "canvas_height": 720}, 0.25), ({}, 0.5)],
    ids=["canvas", "driving video"],
)
def test_bodies_of_openpose_in_pixels_of_any_size(tmp_path, points, canvas, place):
    file = tmp_path / "points.json"
    file.write_text(json.dumps([openpose(points) | canvas] * FRAMES))
    found = given_keypoints(file, TIMELINE)
    assert found.found.all() and found.people.tolist() == [1] * FRAMES
    np.testing.assert_allclose(found.body[0, :18, :2], place)
    assert (found.body[:, 18:, 2] > 0).all() == (points == 25)
    assert not found.left_hand.any() and not found.face.any()


def test_points_go_where_openpose_has_them(tmp_path):
    body = [[float(n), 0, 1] for n in range(25)]
    hands = {f"hand_{side}_keypoints_2d": [v, 0, 1] * 21 for side, v in (("left", 1), ("right", 2))}
    face = [[float(n), 5, 1] for n in range(70)]
    person = {
        "pose_keypoints_2d": np.ravel(body).tolist(),
        "face_keypoints_2d": np.ravel(face).tolist(),
        **hands,
    }
    file = tmp_path / "points.json"
    file.write_text(json.dumps([{"people": [person]}] * FRAMES))
    found = given_keypoints(file, TIMELINE)
    # Nose to left wrist, hips to ears behind the middle of the hips, toes between big and small.
    wanted = [*range(8), *range(9, 19), 19.5, 22.5]
    np.testing.assert_allclose(found.body[0, :, 0] * 640, wanted, rtol=1e-6)
    np.testing.assert_allclose(found.left_hand[0, :, 0] * 640, 1, rtol=1e-6)
    np.testing.assert_allclose(found.right_hand[0, :, 0] * 640, 2, rtol=1e-6)
    np.testing.assert_allclose(found.face[0, 1:, 0] * 640, range(68), rtol=1e-6)


def test_shares_of_the_frame_are_seen_to_be_shares(tmp_path):
    frame = {"people": [{"pose_keypoints_2d": [0.25, 1, 0.9] * 18, "hand_left_keypoints_2d": None}]}
    file = tmp_path / "points.json"
    file.write_text(json.dumps([frame] * FRAMES))
    np.testing.assert_allclose(given_keypoints(file, TIMELINE).body[0, :18, :2], [[0.25, 1]] * 18)


def refused(path) -> str:
    with pytest.raises(ClipError) as error:
        given_keypoints(path, TIMELINE)
    assert str(path) in str(error.value)
    return str(error.value)


def test_what_is_no_openpose_is_refused_with_its_file(keypoints, tmp_path):
    folder = exported(keypoints, tmp_path / "points")
    file, good = folder / "000003.json", (folder / "000003.json").read_text()
    for change, words in [
        (lambda v: v["people"].append(v["people"][0]), "000003.json) is no OpenPose JSON of one"),
        (lambda v: v["people"][0]["pose_keypoints_2d"].pop(), "must be 54 or 75 numbers"),
        (lambda v: v["people"][0].update(hand_left_keypoints_2d=["a"] * 63), "frame 3"),
        (lambda v: v.update(canvas_width=999), "has a canvas of 999x320, another shape"),
    ]:
        edit(file, change)
        assert words in refused(folder)
        file.write_text(good)
    file.write_text("{")
    assert "000003.json is no JSON file" in refused(folder).replace(str(folder) + "/", "")
    file.unlink()
    assert "has points of 11 frames, but the clip has 12 frames at 25 per second" in refused(folder)


def test_points_of_another_frame_or_of_nobody_are_refused(tmp_path):
    file = tmp_path / "points.json"
    large = {"people": [{"pose_keypoints_2d": [1800, 900, 0.9] * 18}]}
    file.write_text(json.dumps([large] * FRAMES))
    assert "100% of the body's points lie outside" in refused(file)
    file.write_text(json.dumps([{"people": []}] * FRAMES))
    assert "shows no person in any frame" in refused(file)


def test_an_npz_is_taken_as_it_is_or_refused(keypoints, tmp_path):
    keypoints.save(tmp_path / "good.npz")
    back = given_keypoints(tmp_path / "good.npz", TIMELINE)
    for name, value in vars(keypoints).items():
        np.testing.assert_array_equal(getattr(back, name), value)
    replace(keypoints, body=keypoints.body[:, :18]).save(tmp_path / "shape.npz")
    assert "'body' must be finite numbers of shape (12, 20, 3)" in refused(tmp_path / "shape.npz")
    np.savez(tmp_path / "other.npz", points=np.zeros(3))
    (tmp_path / "text.npz").write_text("no points")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    np.savez(tmp_path / "empty.npz", **{name: np.zeros(0) for name in vars(keypoints)})
    assert "'body' must be finite numbers of shape" in refused(tmp_path / "empty.npz")
    for name in ("other.npz", "text.npz", "array.npz"):
        assert "is no keypoints.npz of this workflow" in refused(tmp_path / name)


def test_an_export_never_overwrites_what_was_edited(keypoints, tmp_path):
    folder = exported(keypoints, tmp_path / "points")
    exported(keypoints, folder)
    edit(folder / "000001.json", lambda v: v["people"].clear())
    edited = (folder / "000001.json").read_text()
    with pytest.raises(ClipError, match=r"000001\.json, and is not written"):
        exported(keypoints, folder)
    assert (folder / "000001.json").read_text() == edited
    assert sorted(p.name for p in tmp_path.iterdir()) == ["points"]
    shutil.rmtree(folder)
    assert len(list(exported(keypoints, folder).glob("*.json"))) == FRAMES
