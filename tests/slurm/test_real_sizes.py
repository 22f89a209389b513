"""The official detectors at their real sizes, with random weights, on a real SLURM."""

import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml

from animate.demo.clips import write_demo
from animate.matte import SAM2_FILE
from animate.pose.backends.vitpose import DETECTOR_FILE, POSE_FILE
from conftest import FILES, SETTINGS, Cluster
from onnx_files import write_large_detector, write_large_pose
from project import new_project

torch = pytest.importorskip("torch")
build_sam = pytest.importorskip("sam2.build_sam", reason="the sam2 package is optional")

pytestmark = pytest.mark.slow
REPOSITORY = "Wan-AI/Wan2.2-Animate-14B"
BACKENDS = {"pose_backend": "vitpose", "mask_backend": "sam2"}
# SAM 2 takes half a minute of a core for each of these two frames.
CLIP = {"clip": "swap", **FILES, "mode": "replace", "end": "0.08", **BACKENDS}


@pytest.fixture
def weights(tmp_path):
    """A folder with YOLOv10m, ViTPose-H and SAM 2 large, laid out as published: 3.5 GB."""
    models = tmp_path / "weights/process_checkpoint"
    boxes = np.zeros((300, 6))
    boxes[0] = 160, 40, 480, 620, 0.9, 0
    write_large_detector(models / DETECTOR_FILE, boxes)
    write_large_pose(models / POSE_FILE / "end2end.onnx")
    torch.manual_seed(0)
    model = build_sam.build_sam2_video_predictor("configs/sam2/sam2_hiera_l.yaml", None, "cpu")
    checkpoint = models.parent / SAM2_FILE
    checkpoint.parent.mkdir()
    torch.save({"model": model.state_dict()}, checkpoint)
    return models.parent


def peaks(ended: threading.Event) -> Counter:
    """Return the most MB that the processes of each SLURM job had at once, until `ended`."""
    most = Counter()
    while not ended.is_set():
        now = Counter()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, StopIteration):
                variables = (process / "environ").read_bytes().split(b"\0")
                job = next(v for v in variables if v.startswith(b"SLURM_JOB_ID="))
                memory = (process / "smaps_rollup").read_text().split("Pss:")[1].split()[0]
                now[int(job.split(b"=")[1])] += int(memory) / 1000
        most |= now
        time.sleep(0.3)
    return most


def test_real_sizes_fit_what_the_jobs_ask_for(cluster, tmp_path, weights):
    project = Cluster(new_project(tmp_path / "clips").folder)
    # Where the sampler would take a GPU, SAM 2 gets one; here it is a file, and both use the CPU.
    quick = SETTINGS.replace("device: cpu", "device: auto")
    (project.folder / "quick.yaml").write_text(quick)
    declared = project.folder / "config/models.yaml"
    declaration = yaml.safe_load(declared.read_text())
    declaration["repositories"][REPOSITORY]["path"] = str(weights)
    declared.write_text(yaml.safe_dump(declaration, sort_keys=False))
    write_demo(project.folder / "demo")
    project.write_table(CLIP)
    ended, found = threading.Event(), []
    watch = threading.Thread(target=lambda: found.append(peaks(ended)))
    watch.start()
    try:
        project.snakemake("--retries", "0", "previews")
    finally:
        ended.set()
        watch.join()
    (used,) = found
    jobs = {job.kind: job for job in project.jobs_of("swap")}
    for kind, job in jobs.items():
        print(f"{kind}: asked {job.memory_mb} MB, used {used[job.number]:.0f}; {job.gpus} GPUs")
    assert set(jobs) == {"prepare", "detect", "complete"}
    assert {job.state for job in jobs.values()} == {"COMPLETED"}
    assert {kind: job.gpus for kind, job in jobs.items()} == {
        "prepare": 0,
        "detect": 1,
        "complete": 0,
    }
    # They did hold the weights, and never more than was asked for.
    assert used[jobs["prepare"].number] > 2600 and used[jobs["detect"].number] > 1000
    assert all(used[job.number] < job.memory_mb for job in jobs.values())
