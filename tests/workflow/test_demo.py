"""The demo animates: the figures of its results are within bounds.

It takes what `make demo` has made; `.ci/run` calls it after that.
"""

import json
import subprocess

import pytest

from demo_bounds import outside
from project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results():
    """The folder of the demo's results."""
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    return ROOT / "demo/results"


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_the_demo_animates(results, mode):
    figures = json.loads((results / f"demo-{mode}/result_metrics.json").read_text())
    assert outside(figures, mode) == {}
