"""Weights are in the system's cache of files before the sampler asks for them."""

import ctypes
import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from animate.weights.storage import warming

BYTES = 20 << 20


@pytest.fixture
def job(tmp_path):
    """A settings file, and its model's transformer, which is not in memory."""
    weights = tmp_path / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(os.urandom(BYTES))
    with weights.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(weights) > 0.1:
        pytest.skip("this file system keeps files in memory")
    path = tmp_path / "sampled.json"
    path.write_text(json.dumps({"model": str(tmp_path / "model")}))
    return path, weights


def resident(path: Path) -> float:
    """Return which part of a file is in memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        arguments = [None, len(view), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0]
        address = library.mmap(*map(ctypes.c_void_p, arguments))
        library.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(view)), found)
        library.munmap(ctypes.c_void_p(address), ctypes.c_size_t(len(view)))
        return sum(byte & 1 for byte in found) / pages


def test_weights_are_read(job):
    settings, weights = job
    warming.warm(settings, None)
    deadline = time.monotonic() + 30
    while resident(weights) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert resident(weights) == 1


def test_weights_that_would_fill_the_memory_are_not(job, monkeypatch):
    settings, weights = job
    monkeypatch.setattr(warming, "free_host_memory", lambda: BYTES)
    warming._warm(settings, None)
    assert resident(weights) < 0.1
    # A CPU needs twice as much.
    assert warming.is_short(settings)
    monkeypatch.setattr(warming, "free_host_memory", lambda: 2 * BYTES)
    assert not warming.is_short(settings)
    assert not warming.is_short(settings.with_name("none"))
    settings.write_text('{"model": "model", "settings": null}')
    assert not warming.is_short(settings)


def test_the_process_ends_before_all_is_read(tmp_path):
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.parent.mkdir()
    with weights.open("wb") as file:
        file.truncate(warming.PIECE * 400)
    (tmp_path / "job.json").write_text(json.dumps({"model": str(tmp_path)}))
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "os.pread = lambda *arguments: time.sleep(0.5)\n"
        "from animate.weights.storage.warming import warm\n"
        "warm(Path(sys.argv[1]), None)\n"
        "time.sleep(1)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "job.json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, env=environment, check=True, timeout=20)


@pytest.mark.parametrize("content", ["no json", "{}", '{"model": "/nowhere"}'])
def test_a_wrong_job_is_the_samplers_to_refuse(tmp_path, content):
    path = tmp_path / "sampled.json"
    path.write_text(content)
    warming._warm(path, None)
