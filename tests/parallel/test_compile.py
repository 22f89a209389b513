"""Whether the transformer is compiled: the setting, the device and what is installed decide."""

import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from animate.devices.world import ALONE
from animate.errors import ClipError
from animate.kernels.compile import missing_for_compiling, will_compile
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def complete(monkeypatch, tmp_path):
    """A machine with a compiler and Python's headers."""
    for name in ("gcc", "Python.h"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda name, scheme: str(tmp_path))
    return tmp_path


def test_nothing_is_missing(complete):
    assert missing_for_compiling() is None
    for wanted, device, compiled in (
        ("auto", GPU, True),
        ("auto", CPU, False),
        ("on", GPU, True),
        ("on", CPU, True),
        ("off", GPU, False),
    ):
        assert will_compile(wanted, device, pytest.fail) is compiled, (wanted, device)


@pytest.mark.parametrize(
    ("lost", "package"), [("gcc", "gcc"), ("Python.h", f"python3.{sys.version_info.minor}-dev")]
)
def test_what_is_missing_is_named_with_its_package(complete, lost, package):
    (complete / lost).unlink()
    assert missing_for_compiling().endswith(f": install {package}")
    said = []
    assert not will_compile("auto", GPU, said.append)
    assert len(said) == 1 and package in said[0]
    with pytest.raises(ClipError, match=f"compile is on, but .* install {package}; or"):
        will_compile("on", GPU, pytest.fail)
    assert not will_compile("off", GPU, pytest.fail)


def test_refusal_comes_before_anything_is_read(complete):
    (complete / "gcc").unlink()
    workload, nowhere = Workload(64, 64, 13), Path("/nowhere")
    with pytest.raises(ClipError, match="compile is on"):
        build_transformer(nowhere, torch.float32, CPU, [], ALONE, workload, pytest.fail, "on")


def test_compiler_that_is_named_counts(complete, monkeypatch):
    (complete / "gcc").rename(complete / "cc-12")
    assert "C compiler" in missing_for_compiling()
    monkeypatch.setenv("CC", str(complete / "cc-12"))
    assert missing_for_compiling() is None
    monkeypatch.setenv("CC", "gone")
    assert "C compiler" in missing_for_compiling()
