"""The rules' scripts with the official networks' files: real onnxruntime, real SAM 2."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from animate.pose.backends.vitpose import DETECTOR_FILE, POSE_FILE
from animate.pose.keypoints import Keypoints, stack
from animate.video.files import VideoWriter, read_masks
from animate.video.timeline import make_timeline
from onnx_files import write_detector, write_pose

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
SIZE = (64, 96)
FRAMES = 2


def run(script: str, folder: Path, settings: dict, weights: Path, output: str, *more: str) -> str:
    """Run a stage on the folder's clip on the CPU; return the sentence of its failure."""
    command = [sys.executable, SCRIPTS / script, "--settings", json.dumps(settings)]
    command += ["--video", folder / "clip.mp4", "--timeline", folder / "timeline.json"]
    command += ["--weights", weights, "--output", folder / output, "--device", "cpu", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip().rsplit("\n", 1)[-1] if done.returncode else ""


@pytest.fixture
def clip(tmp_path):
    """A folder with a red clip and its timeline."""
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 25) as video:
        for _ in range(FRAMES):
            video.write(np.full((SIZE[1], SIZE[0], 3), (230, 20, 20), np.uint8))
    make_timeline(tmp_path / "clip.mp4", resolution_area=SIZE[0] * SIZE[1]).to_json(
        tmp_path / "timeline.json"
    )
    return tmp_path


@pytest.mark.parametrize(("surest", "found"), [(0, True), (1, False)])
def test_vitpose_reads_the_models_beside_its_anchor_and_misses_nobody(clip, surest, found):
    boxes = np.zeros((300, 6))
    # A class other than 0 is no person.
    boxes[0] = 100, 100, 500, 600, 0.9, surest
    models = clip / "process_checkpoint"
    write_detector(models / DETECTOR_FILE, boxes)
    write_pose(models / POSE_FILE, "batch")
    settings = {"pose_backend": "vitpose", "person": "largest"}
    people = clip / "people.json"
    arguments = (settings, clip / "sources.json", "keypoints.npz", "--people", people)
    problem = run("keypoints.py", clip, *arguments)
    assert (clip / "keypoints.npz").exists() == found
    if found:
        assert not problem
        assert Keypoints.load(clip / "keypoints.npz").found.tolist() == [True] * FRAMES
    else:
        assert "vitpose finds no person in driving video" in problem


@pytest.mark.slow
def test_sam2_takes_a_checkpoint_of_another_size(clip):
    torch = pytest.importorskip("torch")
    build_sam = pytest.importorskip("sam2.build_sam", reason="the sam2 package is optional")
    torch.manual_seed(0)
    model = build_sam.build_sam2_video_predictor("configs/sam2.1/sam2.1_hiera_t.yaml", None, "cpu")
    weights = clip / "sam2.1_hiera_tiny.pt"
    torch.save({"model": model.state_dict()}, weights)
    parts = tuple(np.tile((0.5, 0.5, 1.0), (points, 1)) for points in (20, 21, 21, 69))
    keypoints = clip / "keypoints.npz"
    stack([parts] * FRAMES, [1] * FRAMES).save(keypoints)
    arguments = ({"mask_backend": "sam2"}, weights, "person_mask.mp4", "--keypoints", keypoints)
    assert not run("person_mask.py", clip, *arguments)
    assert [mask.shape for mask in read_masks(clip / "person_mask.mp4")] == [SIZE[::-1]] * FRAMES
    stack([None] * FRAMES, [0] * FRAMES).save(keypoints)
    (clip / "person_mask.mp4").unlink()
    assert "sam2 finds no outline of the person" in run("person_mask.py", clip, *arguments)
    assert not (clip / "person_mask.mp4").exists()
