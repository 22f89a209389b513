"""`make install` on machines that lack something, with made packages and an index of its own."""

import ast
import ensurepip
import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import set_up
from project import ROOT

# Name, version, what it requires, and in which index it is.
PACKAGES = [
    ("torch", "2.15.0", [], "simple"),
    ("torchvision", "0.29.2", ["torch==2.15.0"], "simple"),
    ("numpy", "1.26.4", [], "simple"),
    ("mediapipe", "0.10.21", ["numpy<2", "opencv-contrib-python"], "simple"),
    ("sam2", "1.1.0", ["torch>=2.5"], "simple"),
    ("torch", "2.14.1+cu126", ["nvidia-cublas-cu12", "numpy"], "whl/cu126"),
    ("torch", "2.16.0+cu126", [], "whl/cu126"),
    ("torchvision", "0.29.1+cu126", ["torch==2.14.1"], "whl/cu126"),
    ("nvidia-cublas-cu12", "12.6.4", [], "whl/cu126"),
    ("torch", "2.10.0+cu118", [], "whl/cu118"),
]
LOCK = "# Made for this test.\n" + "".join(f"{n}=={v}\n" for n, v, _, _ in PACKAGES[:5])
# Stands in for pip's own script, which a test cannot fetch: installs the pip of this Python.
GET_PIP = """
import sys
sys.path.insert(0, {wheel!r})
from pip._internal.cli.main import main
sys.exit(main(["install", "--no-index", "--quiet", {wheel!r}]))
"""


def write_wheel(folder: Path, name: str, version: str, requires: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", wheel)
        archive.writestr(f"{info}/RECORD", "")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def index(tmp_path):
    """Serve the packages: the listing of a folder is what pip reads of an index."""
    folder = tmp_path / "index"
    for name, version, requires, place in PACKAGES:
        write_wheel(folder / place / name, name, version, requires)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def clone(tmp_path, index):
    """A copy of what `make install` reads, with another lock and the index of this test."""
    folder = tmp_path / "clone"
    (folder / "workflow/scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    text = (ROOT / "workflow/scripts/set_up.py").read_text()
    (folder / "workflow/scripts/set_up.py").write_text(text.replace(set_up.BUILDS, f"{index}/whl"))
    (folder / "requirements.lock").write_text(LOCK)
    return folder


def bare(tmp_path: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a user without any settings of pip, and without other Pythons."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("make", "sh", "cat", "touch", "rm"):
        if not (programs / name).exists():
            (programs / name).symlink_to(shutil.which(name))
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "PYTHON", "MAKE"))}
    kept |= {"PIP_CONFIG_FILE": os.devnull, "PATH": str(programs), "HOME": str(tmp_path)}
    return kept | variables


def make(clone: Path, index: str, *words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = bare(clone.parent, PIP_INDEX_URL=f"{index}/simple", **variables)
    command = ["make", f"PYTHON={sys.executable}", "install", *words]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)


def installed(clone: Path) -> dict[str, str]:
    command = [clone / ".venv/bin/python", "-m", "pip", "freeze", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split("==") for line in done.stdout.splitlines())


@pytest.mark.slow
def test_another_build_of_pytorch_is_taken_kept_and_given_back(clone, index):
    done = make(clone, index)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(clone)["torch"] == "2.15.0"

    done = make(clone, index, "PYTORCH=cu126")
    assert done.returncode == 0, done.stdout + done.stderr
    found = installed(clone)
    # Not the newer one, which was never tried, and with what that build needs.
    assert found["torch"] == "2.14.1+cu126" and found["torchvision"] == "0.29.1+cu126"
    assert {"nvidia-cublas-cu12", "sam2", "mediapipe"} <= set(found)

    assert "Nothing to be done" in make(clone, index).stdout
    (clone / "requirements.lock").touch()
    assert make(clone, index).returncode == 0
    assert installed(clone)["torch"] == "2.14.1+cu126"

    assert make(clone, index, "PYTORCH=").returncode == 0
    assert installed(clone)["torch"] == "2.15.0"
    assert "nvidia-cublas-cu12" not in installed(clone)


def test_a_build_that_is_too_old_or_from_elsewhere_is_refused(clone, index):
    done = make(clone, index, "PYTORCH=cu118")
    assert done.returncode and "torch<=2.15.0,>=2.11" in done.stderr
    assert not (clone / ".venv/.installed").exists()
    done = make(clone, index, "PYTORCH=cu126", PIP_EXTRA_INDEX_URL=f"{index}/simple")
    assert done.returncode
    assert "pip found PyTorch 2.15.0 in place of a build for cu126" in done.stderr


def test_packages_that_disagree_stop_the_set_up(clone, index, tmp_path):
    write_wheel(tmp_path / "index/simple/numpy", "numpy", "2.0.0", [])
    (clone / "requirements.lock").write_text(LOCK.replace("numpy==1.26.4", "numpy==2.0.0"))
    done = make(clone, index)
    assert done.returncode
    assert "mediapipe 0.10.21 has requirement numpy<2" in done.stderr
    assert "opencv" not in done.stderr


@pytest.fixture
def no_ensurepip(tmp_path):
    """The variable that makes Python one of Debian's, which comes without ensurepip."""
    folder = tmp_path / "debian"
    folder.mkdir()
    (folder / "ensurepip.py").write_text("raise ImportError('not here')\n")
    return {"PYTHONPATH": str(folder)}


def test_pip_is_fetched_where_python_has_none(clone, index, tmp_path, no_ensurepip):
    (wheel,) = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    script = tmp_path / "get-pip.py"
    script.write_text(GET_PIP.format(wheel=str(wheel)))
    done = make(clone, index, GET_PIP=script.as_uri(), **no_ensurepip)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed(clone)["mediapipe"] == "0.10.21"


def test_without_pip_and_its_address_one_sentence_says_what_to_do(
    clone, index, tmp_path, no_ensurepip
):
    address = (tmp_path / "nowhere.py").as_uri()
    done = make(clone, index, GET_PIP=address, **no_ensurepip)
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert "this Python has no pip" in sentence and address in sentence and "uv" in sentence
    assert not (clone / ".venv").exists()


@pytest.fixture
def too_new(clone):
    """The clone on a machine whose only Python is newer than all that the packages support."""
    script = clone / "workflow/scripts/set_up.py"
    text = script.read_text()
    assert 'PYTHONS = ("3.12", "3.11")' in text
    script.write_text(text.replace('PYTHONS = ("3.12", "3.11")', 'PYTHONS = ("3.2", "3.1")'))
    return clone


def test_a_python_that_is_too_new_is_named_with_the_remedy(too_new, index):
    done = make(too_new, index)
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"Python 3.1 or 3.2 is needed and this is {version}: install uv" in sentence
    assert "make PYTHON=python3.2" in sentence


@pytest.mark.parametrize("place", ["bin", ".local/bin"])
def test_uv_brings_the_right_python(too_new, index, tmp_path, place):
    """uv itself is a stand-in: it would fetch a Python."""
    uv = tmp_path / place / "uv"
    uv.parent.mkdir(parents=True, exist_ok=True)
    asked = tmp_path / "asked"
    uv.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {asked}\nfor folder; do :; done\n'
        f'exec {sys.executable} -m venv "$folder"\n'
    )
    uv.chmod(0o755)
    done = make(too_new, index)
    assert done.returncode == 0, done.stdout + done.stderr
    *words, _ = asked.read_text().split()
    assert words == ["venv", "--quiet", "--seed", "--python", ">=3.1,<=3.2.99"]
    assert installed(too_new)["torch"] == "2.15.0"


def test_another_python_of_the_machine_is_taken(too_new, index, tmp_path):
    bare(tmp_path)
    (tmp_path / "bin/python3.1").symlink_to(Path(sys.executable).resolve())
    assert make(too_new, index).returncode == 0
    assert installed(too_new)["torch"] == "2.15.0"


def test_any_python_of_the_last_years_can_read_it():
    ast.parse((ROOT / "workflow/scripts/set_up.py").read_text(), feature_version=(3, 6))


def test_the_lock_needs_no_system_library_of_opencv():
    lock = (ROOT / "requirements.lock").read_text()
    assert "opencv-contrib-python-headless==" in lock and "opencv-contrib-python==" not in lock
