"""The GPU kernels, without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_kernels_in_tritons_interpreter():
    pytest.importorskip("triton")
    # Triton takes up its interpreter when it is first imported.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", Path(__file__).with_name("interpreted_kernels.py")],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "10 passed" in done.stdout
