"""The demo animates: the figures of its results are within bounds.

It takes what `make demo` has made; `.ci/run` calls it after that.
"""

import json
import subprocess

import pytest

from project import ROOT

pytestmark = pytest.mark.slow
# Least and most of each figure. Measured with seed 0: animate 0.069, 0.978, 0.42, 0.989, 1.26 and
# 4.4 in this order, replace 0.057, 0.956, 0.77, 0.994, 1.13 and 3.8, then 29.8 and 0.93. Noise of
# untrained weights has a pose error of 1.1 or more, 0.04 of the pose and 9.6 dB.
BOUNDS = {
    "pose_error": (0, 0.12),
    "pose_shown": (0.9, 1),
    "mouth_in_step": (0.2, 1),
    "face_identity": (0.97, 1),
    "seams": (0, 2),
    "colour_drift": (0, 7),
}
KEPT_BACKGROUND = {"background_psnr": (26, 60), "background_ssim": (0.85, 1)}


@pytest.fixture(scope="module")
def results():
    """The folder of the demo's results."""
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    return ROOT / "demo/results"


@pytest.mark.parametrize(
    ("clip", "bounds"),
    [("demo-animate", BOUNDS), ("demo-replace", BOUNDS | KEPT_BACKGROUND)],
)
def test_the_demo_animates(results, clip, bounds):
    figures = json.loads((results / clip / "result_metrics.json").read_text())
    outside = {
        name: figures[name]
        for name, (least, most) in bounds.items()
        if figures[name] is None or not least <= figures[name] <= most
    }
    assert outside == {}
