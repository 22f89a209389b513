"""The demo's model does what it is told: an input that is spoiled breaks the bound of a figure.

Samples the demo's clips again, from what `make demo` has left, with the workflow's own sampler and
figures. A part of the sampler that ignored an input, or turned it, would do the same.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from animate.config.job import read_job
from animate.config.settings import ResultSettings
from animate.devices.machine import machine_of
from animate.devices.world import ALONE
from animate.model.image import reference_features, save_features
from animate.sampling.loop import SegmentSampler
from animate.sampling.models import KeptModels
from animate.sampling.progress import Progress
from animate.sampling.run import run_job
from animate.video.files import VideoWriter, read_video, video_info
from animate.video.timeline import Timeline
from demo_bounds import outside
from project import ROOT
from stages import stage

pytestmark = pytest.mark.slow
RESULTS, MODEL = ROOT / "demo/results", ROOT / "demo/models/demo"
SHIFT = 8
# The driver's mouth opens and closes once in 75 frames.
HALF_A_ROUND = 37


@pytest.fixture(scope="module")
def models():
    """A machine without a GPU, and the models that stay loaded there."""
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    machine = machine_of(ALONE, "cpu", compiling="off")
    yield machine, KeptModels(machine)
    # The scripts, which end with their process, had it find none of these.
    for name in [name for name, module in sys.modules.items() if module is None]:
        del sys.modules[name]


def copy_of(mode: str, folder: Path) -> Path:
    """Copy what the demo's clip of that mode was sampled from into a folder, and return it."""
    original = RESULTS / f"demo-{mode}"
    for path in (*original.glob("src_*"), original / "timeline.json"):
        shutil.copy(path, folder)
    return folder


def nothing(clip: Path) -> None:
    """Leave all as it is."""


def turned_mask(clip: Path) -> None:
    change(clip / "src_mask.mp4", "mask", lambda frames: [255 - frame for frame in frames])


def shifted_pose(clip: Path) -> None:
    def shifted(frame: np.ndarray) -> np.ndarray:
        moved = np.zeros_like(frame)
        moved[:, SHIFT:] = frame[:, :-SHIFT]
        return moved

    change(clip / "src_pose.mp4", "drawing", lambda frames: map(shifted, frames))


def other_face(clip: Path) -> None:
    """Take the face of a clip whose mouth is closed where this one's is open."""
    change(
        clip / "src_face.mp4",
        "picture",
        lambda frames: [*frames[HALF_A_ROUND:], *frames[:HALF_A_ROUND]],
    )


def other_reference(clip: Path) -> None:
    """Take the photograph in its own colours, as the driving video has it."""
    reference = clip / "src_ref.png"
    cv2.imwrite(str(reference), cv2.imread(str(reference))[..., ::-1])
    size = Timeline.from_json(clip / "timeline.json").model_size
    save_features(clip / "src_ref.safetensors", reference_features(MODEL, reference, *size))


def change(video: Path, quality: str, changed: Callable) -> None:
    """Write a video anew with changed frames."""
    info, frames = video_info(video), list(read_video(video))
    with VideoWriter(video, info.size, info.frame_rate, quality) as writer:
        for frame in changed(frames):
            writer.write(frame)


def figures_of(clip: Path, original: Path, models: tuple) -> dict:
    """Sample the inputs in the folder `clip`; return figures against those of the original."""
    machine, kept = models
    job = json.loads((original / "sampled.json").read_text())
    for role, path in job["inputs"].items():
        own = clip / Path(path).name
        job["inputs"][role] = str(own if own.exists() else ROOT / path)
    names = {"output": "sampled.mp4", "record": "sampling.json", "journal": ".journal"}
    job |= {key: str(clip / name) for key, name in names.items()}
    job |= {"model": str(MODEL), "progress": None}
    (clip / "sampled.json").write_text(json.dumps(job))
    progress = Progress(clip.name, None, quiet=True)
    run_job(read_job(clip / "sampled.json"), machine, progress, kept)
    # What follows knows nothing of what was spoiled.
    asked = {
        "timeline": original / "timeline.json",
        "reference": original / "src_ref.png",
        "result": clip / "sampled.mp4",
    }
    found = clip / "result_keypoints.npz", clip / "result_reference_keypoints.npz"
    stage("result_keypoints", None, **asked, output=found[0], reference_output=found[1])
    known = ResultSettings.model_fields.keys() & job["settings"].keys()
    settings = ResultSettings(**{name: job["settings"][name] for name in known})
    asked |= {"background": original / "src_bg.mp4", "mask": original / "src_mask.mp4"}
    stage(
        "result_metrics",
        settings,
        **{name: path if path.exists() else None for name, path in asked.items()},
        keypoints=original / "keypoints.npz",
        compared=["pose", "face"],
        result_keypoints=found[0],
        reference_keypoints=found[1],
        model=MODEL / "model_index.json",
        output=clip / "result_metrics.json",
    )
    return json.loads((clip / "result_metrics.json").read_text())


@pytest.mark.parametrize(
    ("mode", "spoil", "broken"),
    [
        ("animate", nothing, set()),
        ("replace", nothing, set()),
        ("animate", shifted_pose, {"pose_offset_x"}),
        ("replace", shifted_pose, {"pose_offset_x"}),
        ("replace", turned_mask, {"background_psnr"}),
        ("animate", other_face, {"mouth_in_step"}),
        ("replace", other_face, {"mouth_in_step"}),
        ("animate", other_reference, {"character_colour"}),
        ("replace", other_reference, {"character_colour"}),
    ],
)
def test_what_is_spoiled_is_told_by_a_figure(tmp_path, models, mode, spoil, broken):
    spoiled = copy_of(mode, tmp_path)
    spoil(spoiled)
    figures = figures_of(spoiled, RESULTS / f"demo-{mode}", models)
    assert broken <= outside(figures, mode).keys(), figures
    assert broken or not outside(figures, mode)


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_segments_without_conditioning_frames_are_told(tmp_path, models, mode, monkeypatch):
    sample = SegmentSampler.sample

    def without(self, frames, previous, *others):
        return sample(self, frames, None, *others)

    monkeypatch.setattr(SegmentSampler, "sample", without)
    figures = figures_of(copy_of(mode, tmp_path), RESULTS / f"demo-{mode}", models)
    assert "seams_mean" in outside(figures, mode), figures
