"""`SAMPLER_VERSION` stands for what the sampler makes: other frames need another version.

After a change that is meant to make other frames, raise the version and record them anew:
PYTHONPATH=workflow/scripts:tests python tests/unit/test_sampler_version.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from animate.config.job import read_job
from animate.devices.machine import Machine
from animate.journal.key import SAMPLER_VERSION, job_key
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
    journal = Journal(job.journal, job_key(job, job_loras(job)))
    return np.concatenate([journal.frames(index).numpy() for index in range(2)])


@pytest.mark.parametrize("case", CASES)
def test_frames_are_those_of_this_version(tmp_path, case):
    recorded = np.load(RECORDED)
    assert recorded["version"] == SAMPLER_VERSION, "record the frames of the new version"
    frames = sampled(tmp_path, write_model(tmp_path / "model"), case)
    difference = np.abs(frames.astype(int) - recorded[case])
    assert difference.max() <= TOLERANCE, "other frames: raise SAMPLER_VERSION and record them"


def test_frames_of_other_settings_are_further_away(tmp_path):
    frames = sampled(tmp_path, write_model(tmp_path / "model", seed=1), "animate")
    assert np.abs(frames.astype(int) - np.load(RECORDED)["animate"]).max() > 10 * TOLERANCE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder, "model"))
        found = {case: sampled(Path(folder), model, case) for case in CASES}
    np.savez_compressed(RECORDED, version=SAMPLER_VERSION, **found)
    sys.stdout.write(f"recorded version {SAMPLER_VERSION} in {RECORDED}\n")
