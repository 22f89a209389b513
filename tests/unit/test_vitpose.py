"""The official networks' inputs and outputs are handled as officially, through onnxruntime."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from animate.errors import ClipError
from animate.pose.backends import backend
from animate.pose.backends.detections import person_boxes
from animate.pose.backends.heatmaps import decode
from animate.pose.backends.onnx import GPU_PROVIDER, Network
from animate.pose.backends.vitpose import (
    DETECTOR_FILE,
    MEAN,
    POSE_FILE,
    SPREAD,
    crop_place,
    network_input,
)
from animate.pose.person import choose
from onnx_files import write_detector, write_pose

DATA = Path(__file__).parents[1] / "data"
PEOPLE = np.load(DATA / "person_box.npz")
POSES = np.load(DATA / "vitpose_decode.npz")
RED, BLUE = (200, 150), (300, 250)
RIGHT_WRIST, LEFT_WRIST = 4, 7
# The heatmap's coordinates are those of its cells' corners; the pooled colours are of their middle.
HALF_CELL = 5.2


@pytest.fixture
def models(tmp_path):
    """A folder with networks that find one person and its red and blue points."""
    boxes = np.zeros((300, 6))
    boxes[0] = 100, 100, 500, 600, 0.9, 0
    write_detector(tmp_path / DETECTOR_FILE, boxes)
    write_pose(tmp_path / POSE_FILE, "batch")
    return tmp_path


def spots(shift: int = 0, background: tuple[int, int, int] = (60, 0, 0)) -> np.ndarray:
    """Return a frame (360, 640, 3) with a soft red and a soft blue spot."""
    frame = np.full((360, 640, 3), background, np.uint8)
    cv2.circle(frame, (RED[0] + shift, RED[1]), 12, (255, 0, 0), -1)
    cv2.circle(frame, (BLUE[0] + shift, BLUE[1]), 12, (0, 0, 255), -1)
    return cv2.GaussianBlur(frame, (0, 0), 6)


@pytest.mark.parametrize("case", sorted({name[0] for name in PEOPLE}))
def test_person_choice_equals_the_official_one(case):
    height, width = PEOPLE[f"{case}_frame_size"]
    boxes = person_boxes(PEOPLE[f"{case}_detections"], (width, height))
    expected = PEOPLE[f"{case}_person_box"]
    if not len(expected):
        assert not len(boxes)
        return
    chosen = boxes[choose(boxes[:, :4], (width, height), "largest")]
    np.testing.assert_array_equal(chosen[:4], expected[:4])
    assert chosen[4] == pytest.approx(expected[4])


def test_decoding_equals_the_official_one():
    heatmaps = POSES["heatmaps"].astype(np.float32)
    points = decode(heatmaps, POSES["centers"], POSES["scales"] * 200)
    np.testing.assert_allclose(points[..., :2], POSES["keypoints"][..., :2], atol=0.05)
    np.testing.assert_allclose(points[..., 2], POSES["keypoints"][..., 2], atol=1e-6)


def test_crops_equal_the_official_ones():
    frame = POSES["frame_16th"].repeat(16, axis=0).repeat(16, axis=1)
    places = [crop_place(box, (1280, 720)) for box in POSES["boxes"]]
    for (center, size), expected, scale in zip(
        places, POSES["centers"], POSES["scales"], strict=True
    ):
        np.testing.assert_allclose(center, expected, atol=1e-9)
        np.testing.assert_allclose(size, scale * 200, atol=1e-9)
    for place, expected in zip(places, POSES["network_input"], strict=False):
        np.testing.assert_allclose(network_input(frame, *place), expected, atol=2e-3)


@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_points_are_found_where_the_networks_see_their_colours(models, batch):
    write_pose(models / POSE_FILE, batch)
    frames = [spots(shift) for shift in range(0, 22, 2)]
    keypoints = backend("vitpose").detect(frames, models=models, device="cpu")
    assert len(keypoints) == 11 and keypoints.found.all() and (keypoints.people == 1).all()
    for number, body in enumerate(keypoints.body):
        for point, spot in ((RIGHT_WRIST, RED), (LEFT_WRIST, BLUE)):
            found = body[point, :2] * (640, 360) + HALF_CELL
            assert np.abs(found - (spot[0] + 2 * number, spot[1])).max() < 2
            assert 0.3 < body[point, 2] <= 1


def test_nobody_is_found_where_the_detector_is_unsure(models):
    dark = [np.zeros((360, 640, 3), np.uint8)] * 2
    keypoints = backend("vitpose").detect(dark, models=models, device="cpu")
    assert not keypoints.found.any() and not keypoints.body[..., 2].any()


def test_a_person_beyond_the_frame_is_a_black_crop():
    crop = network_input(spots(), np.array((900, 180)), np.array((75, 100)))
    np.testing.assert_allclose(crop[:, 9, 9] * SPREAD + MEAN, 0, atol=1e-6)


def test_one_picture(models):
    assert len(backend("vitpose").detect_picture(spots(), models=models, device="cpu")) == 1


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(ClipError, match="missing"):
        Network(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"no network")
    with pytest.raises(ClipError, match="damaged"):
        Network(tmp_path / "a.onnx", "cpu")


def test_without_a_usable_gpu_auto_takes_the_cpu_and_says_so(models, monkeypatch, caplog):
    monkeypatch.setattr("animate.pose.backends.onnx.has_gpu_provider", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    network = Network(models / POSE_FILE, "auto")
    assert network(np.zeros((1, 3, 256, 192), np.float32)).shape == (1, 133, 64, 48)
    assert "only its CPU provider" in caplog.text


def test_a_gpu_that_was_asked_for_is_used_or_missed(models):
    if GPU_PROVIDER in onnxruntime.get_available_providers():
        Network(models / POSE_FILE, "cuda")
    else:
        with pytest.raises(ClipError, match="onnxruntime-gpu"):
            Network(models / POSE_FILE, "cuda")
