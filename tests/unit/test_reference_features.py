"""The reference's features are made by a script of their own, for the size of a clip's frames."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from animate.errors import ClipError
from animate.model.image import load_features, reference_features
from animate.video.timeline import make_timeline
from sampler_clip import write_clip, write_model

SCRIPT = Path(__file__).parents[2] / "workflow/scripts/encode_reference.py"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The folder of a clip with its timeline, and of its model."""
    folder = tmp_path_factory.mktemp("clip")
    model = write_model(folder / "model")
    write_clip(folder / "owl", model, 5, size=(48, 32))
    timeline = make_timeline(folder / "owl/src_pose.mp4", resolution_area=48 * 32)
    timeline.to_json(folder / "owl/timeline.json")
    return folder / "owl", model, timeline.model_size


def encode(folder: Path, model: Path, output: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, "--clip=owl", "--log", output.with_suffix(".log")]
    command += ["--model", model, "--reference", folder / "src_ref.png", "--output", output]
    command += ["--timeline", folder / "timeline.json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_features_are_those_of_the_picture_fitted_to_the_frames(clip, tmp_path):
    folder, model, size = clip
    done = encode(folder, model, tmp_path / "features.safetensors")
    assert done.returncode == 0, done.stderr
    found = load_features(tmp_path / "features.safetensors")
    assert torch.equal(found, reference_features(model, folder / "src_ref.png", *size))
    assert not torch.equal(found, reference_features(model, folder / "src_ref.png", *size[::-1]))


def test_a_broken_encoder_is_named_and_leaves_no_file(clip, tmp_path):
    folder, _, _ = clip
    done = encode(folder, tmp_path, tmp_path / "features.safetensors")
    assert done.returncode == 1 and "get the model again" in done.stderr
    assert not list(tmp_path.glob("*.safetensors"))


def test_features_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no features")
    with pytest.raises(ClipError, match=r"x\.safetensors cannot be read"):
        load_features(tmp_path / "x.safetensors")
