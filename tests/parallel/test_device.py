"""Which device samples: never the CPU in place of a GPU that should have started."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from animate.devices.machine import SMALL_MODEL, choose_device
from animate.errors import ClipError
from sampler_clip import write_clip, write_model

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
# What a driver answers that is there, but older than this PyTorch.
OLD_DRIVER = """#!/bin/sh
case "$*" in
  *driver_version*) echo DRIVER ;;
  *-L*) echo "GPU 0: NVIDIA A100 (UUID: GPU-5fcd63d1-4fc2-4d5c-a1c1-26b8b46d0b9b)" ;;
  *) echo 0 ;;
esac
"""


@pytest.fixture
def published(tmp_path):
    """A model folder whose transformer is larger than what a CPU samples."""
    weights = tmp_path / "wan" / "transformer" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    with weights.open("wb") as file:
        file.truncate(SMALL_MODEL + 1)
    return tmp_path / "wan"


@pytest.fixture
def old_driver(request, tmp_path, monkeypatch):
    """A driver that answers, but starts nothing: 470.57.02, or what the test asks for."""
    version = getattr(request, "param", "470.57.02")
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(OLD_DRIVER.replace("DRIVER", version))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_small_model_is_sampled_by_the_cpu(tmp_path):
    (tmp_path / "transformer").mkdir()
    assert choose_device("auto", tmp_path, {}) == "cpu"


def test_the_published_model_is_not(published):
    with pytest.raises(ClipError, match=r"no GPU was found .* set `device: cpu`"):
        choose_device("auto", published, {})
    assert choose_device("cpu", published, {}) == "cpu"


@pytest.mark.parametrize("nothing", ["", "-1", "NoDevFiles"])
def test_a_job_that_was_given_no_gpu_has_none(tmp_path, nothing):
    (tmp_path / "transformer").mkdir()
    assert choose_device("auto", tmp_path, {"CUDA_VISIBLE_DEVICES": nothing}) == "cpu"


@pytest.mark.parametrize(
    ("wanted", "environment"), [("auto", {"CUDA_VISIBLE_DEVICES": "0"}), ("cuda", {})]
)
def test_a_gpu_that_does_not_start_is_an_error_for_any_model(
    tmp_path, old_driver, wanted, environment
):
    with pytest.raises(ClipError) as error:
        choose_device(wanted, tmp_path, environment)
    sentence = str(error.value)
    assert "does not start" in sentence
    assert "driver is 470.57.02" in sentence
    assert f"PyTorch {torch.__version__}" in sentence
    assert "\n" not in sentence
    assert "make install" not in sentence


@pytest.mark.parametrize(
    ("old_driver", "built_for", "remedy"),
    [
        ("535.104.05", "13.2", "run `make install PYTORCH=cu126`, update the driver"),
        ("570.86.15", "13.2", "run `make install PYTORCH=cu126`, update the driver"),
        ("525.59.99", "13.2", "needs driver 580.65 or newer: update it"),
        ("535.104.05", None, "built without CUDA: run `make install PYTORCH=cu126`"),
        ("580.65.06", None, "built without CUDA: run `make install PYTORCH=`"),
    ],
    indirect=["old_driver"],
)
def test_the_sentence_names_the_build_for_the_driver(
    tmp_path, old_driver, monkeypatch, built_for, remedy
):
    monkeypatch.setattr(torch.version, "cuda", built_for)
    with pytest.raises(ClipError) as error:
        choose_device("cuda", tmp_path, {})
    assert remedy in str(error.value)


def test_the_job_ends_before_anything_is_touched(tmp_path, old_driver):
    path = write_clip(tmp_path / "clip", write_model(tmp_path / "model"), 5, segment_frames=5)
    environment = os.environ | {"WAN_ANIMATE_LEASES": str(tmp_path / "leases")}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, SCRIPTS / "launch_sampler.py", "--gpus=1", path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "clip clip: error: the GPU that this job holds" in done.stdout
    assert not (path.parent / "sampled.mp4").exists()
    assert not (path.parent / ".journal").exists()
