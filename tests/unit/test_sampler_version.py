"""`SAMPLER_VERSION` stands for what the sampler makes: other frames need another version.

After a change that is meant to make other frames, raise the version and record them anew:
PYTHONPATH=workflow/scripts:tests python tests/unit/test_sampler_version.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import animate
from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.journal.key import SAMPLER_VERSION, input_hashes, job_key
from animate.journal.segments import Journal
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.sampling.weights import job_loras
from sampler_clip import write_clip, write_model

RECORDED = Path(__file__).parents[1] / "data" / "sampler_version.npz"
SEGMENT = {"segment_frames": 9, "steps": 3}
CASES = {
    "animate": {"mode": "animate", **SEGMENT},
    "replace": {
        "mode": "replace",
        **SEGMENT,
        "solver": "dpm++",
        "guidance_scale": 2.0,
        "conditioning_frames": 5,
        "color_match": 0.1,
    },
}
# Frames have 256 values; processors differ in the last bits of fp32 only.
TOLERANCE = 2


def sampled(folder: Path, model: Path, case: str) -> np.ndarray:
    """Return the frames of a clip of two segments as they go into the video."""
    path = write_clip(folder / case, model, 12, **CASES[case])
    job = read_job(path)
    run_job(job, Machine(torch.device("cpu"), torch.float32), Progress(case, quiet=True))
    journal = Journal(job.journal, job_key(job, job_loras(job), input_hashes(job)))
    return np.concatenate([journal.frames(index).numpy() for index in range(2)])


@pytest.mark.parametrize("case", CASES)
def test_frames_are_those_of_this_version(tmp_path, case):
    recorded = np.load(RECORDED)
    assert recorded["version"] == SAMPLER_VERSION, "record the frames of the new version"
    frames = sampled(tmp_path, write_model(tmp_path / "model"), case)
    difference = np.abs(frames.astype(int) - recorded[case])
    assert difference.max() <= TOLERANCE, "other frames: raise SAMPLER_VERSION and record them"


KEY_OF_A_JOB = """
import sys
from pathlib import Path
from animate.config.job import read_job
from animate.journal.key import input_hashes, job_key
from animate.sampling.weights import job_loras
job = read_job(Path(sys.argv[1]))
print(job_key(job, job_loras(job), input_hashes(job)))
"""


def test_a_comment_in_any_file_starts_no_clip_afresh(tmp_path):
    path = write_clip(tmp_path / "clip", write_model(tmp_path / "model"), 12, **CASES["animate"])
    package = Path(animate.__file__).parent
    commented = shutil.copytree(package, tmp_path / "commented/animate")
    for file in commented.rglob("*.py"):
        file.write_text(file.read_text() + "# Another comment.\n")
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEY_OF_A_JOB, path],
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for folder in (package.parent, commented.parent)
    }
    assert len(keys) == 1


def test_frames_of_other_settings_are_further_away(tmp_path):
    frames = sampled(tmp_path, write_model(tmp_path / "model", seed=1), "animate")
    assert np.abs(frames.astype(int) - np.load(RECORDED)["animate"]).max() > 10 * TOLERANCE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder, "model"))
        found = {case: sampled(Path(folder), model, case) for case in CASES}
    np.savez_compressed(RECORDED, version=SAMPLER_VERSION, **found)
    sys.stdout.write(f"recorded version {SAMPLER_VERSION} in {RECORDED}\n")
