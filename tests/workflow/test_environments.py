"""The environments of --sdm conda: their pip part alone has all that their rules' modules use."""

import re
import subprocess
import venv
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml

from project import ROOT

# The packages of the library whose modules the rules of an environment import.
MODULES = {
    "preprocess": tuple(
        f"animate{room}"
        for room in ("", ".config", ".video", ".pose", ".pose.backends", ".matte", ".results")
    ),
    "sample": tuple(
        f"animate.{room}"
        for room in (
            *("config", "devices", "weights", "weights.lora", "model", "kernels", "parallel"),
            *("journal", "sampling", "hub", "cluster"),
        )
    ),
}
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"{name}.{module.name}")
"""


# What takes minutes to install, and is installed where these tests run.
TORCH = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def link_torch(folder: Path) -> None:
    """Give the virtual environment in `folder` this one's PyTorch, as if installed there."""
    (site,) = folder.glob("lib/python*/site-packages")
    for package in distributions():
        if TORCH.fullmatch(package.metadata["Name"]):
            # Scripts lie outside, and no test needs them.
            for file in (f for f in package.files if ".." not in f.parts):
                place = site / file
                place.parent.mkdir(parents=True, exist_ok=True)
                source = file.locate()
                if source.exists() and not place.exists():
                    place.symlink_to(source)


@pytest.mark.parametrize("torch", ["linked", pytest.param("installed", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", MODULES)
def test_pip_part_is_complete(name, torch, tmp_path):
    dependencies = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
    (packages,) = [part["pip"] for part in dependencies if isinstance(part, dict)]
    venv.create(tmp_path / "venv", with_pip=True)
    if torch == "linked":
        link_torch(tmp_path / "venv")
    python = str(tmp_path / "venv/bin/python")

    def run(*command: str) -> None:
        done = subprocess.run([python, *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("-m", "pip", "install", "--quiet", *packages)
    run("-m", "pip", "check")
    run("-c", f"import sys; sys.path.insert(0, 'workflow/scripts')\n{IMPORT_ALL}", *MODULES[name])


def test_every_environment_is_tested():
    assert {path.stem for path in (ROOT / "envs").glob("*.yaml")} == set(MODULES)
