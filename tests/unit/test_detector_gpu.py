"""A detector on a GPU keeps it from every other job, and takes none that it was not given."""

import os

import pytest

from animate.devices.leases import lease
from animate.errors import ClipError
from animate.pose.backends.onnx import has_gpu_provider
from animate.pose.detector_gpu import can_use_gpu, detector_gpu, gpu_detectors


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Two GPUs outside of SLURM, and a lease folder of the test's own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("WAN_ANIMATE_LEASES", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return monkeypatch


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_detector_holds_one_gpu_while_it_runs(tmp_path, device):
    with detector_gpu("sam2", device):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        with lease(["0", "1"], 1, tmp_path) as other:
            assert other == ["1"]
    with lease(["0", "1"], 2, tmp_path) as free:
        assert free == ["0", "1"]


@pytest.mark.parametrize(("backend", "device"), [("mediapipe", "auto"), ("sam2", "cpu")])
def test_what_runs_on_the_cpu_waits_for_no_gpu(tmp_path, backend, device):
    with lease(["0", "1"], 2, tmp_path), detector_gpu(backend, device):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_machine_without_gpus_runs_on_the_cpu(machine):
    machine.setenv("CUDA_VISIBLE_DEVICES", "")
    with detector_gpu("sam2", "auto"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_slurm_job_without_gpus_takes_none_of_the_nodes(machine):
    machine.setenv("SLURM_JOB_ID", "7")
    machine.delenv("CUDA_VISIBLE_DEVICES")
    with detector_gpu("sam2", "auto"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_cuda_without_a_gpu_is_one_sentence(machine):
    machine.setenv("CUDA_VISIBLE_DEVICES", "")
    sentence = r"^detectors is cuda, but sam2 finds no GPU here"
    with pytest.raises(ClipError, match=sentence), detector_gpu("sam2", "cuda"):
        pass


def test_a_cluster_is_asked_for_a_gpu_where_one_can_be_used():
    used = {"vitpose", "sam2"}
    able = used if has_gpu_provider() else {"sam2"}
    assert gpu_detectors(used, "auto", "auto") == gpu_detectors(used, "auto", "cuda") == able
    assert gpu_detectors(used, "cuda", "cpu") == used
    assert gpu_detectors(used, "cpu", "auto") == gpu_detectors(used, "auto", "cpu") == set()
    assert gpu_detectors(set(), "cuda", "cuda") == set()


def test_vitpose_needs_an_onnxruntime_for_gpus():
    assert can_use_gpu("vitpose") == has_gpu_provider()
