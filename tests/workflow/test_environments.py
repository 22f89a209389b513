"""The environments of --sdm conda: each has all that its rules' modules, or Snakemake, use."""

import os
import re
import subprocess
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from project import ROOT
from set_up import KNOWN

# The packages of the library whose modules the rules of an environment import.
MODULES = {
    "preprocess": tuple(
        f"animate{room}"
        for room in ("", ".config", ".video", ".pose", ".pose.backends", ".matte", ".results")
    ),
    "sample": tuple(
        f"animate.{room}"
        for room in (
            *(
                "config",
                "devices",
                "weights",
                "weights.lora",
                "weights.storage",
                "model",
                "kernels",
                "parallel",
            ),
            *("journal", "sampling", "hub", "hub.declared", "cluster"),
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


def link(packages: Iterable[Distribution], folder: Path) -> None:
    """Give the virtual environment in `folder` packages of this one, as if installed there."""
    (site,) = folder.glob("lib/python*/site-packages")
    for package in packages:
        # Scripts lie outside, and no test needs them.
        for file in (f for f in package.files if ".." not in f.parts):
            place = site / file
            place.parent.mkdir(parents=True, exist_ok=True)
            source = file.locate()
            if source.exists() and not place.exists():
                place.symlink_to(source)


def with_requirements(names: Iterable[str]) -> dict[str, Distribution]:
    """Return those packages of this environment, and what they require."""
    found, waiting = {}, set(names)
    while waiting:
        name = waiting.pop()
        found[name] = distribution(name)
        requirements = map(Requirement, found[name].requires or ())
        wanted = (r for r in requirements if not r.marker or r.marker.evaluate({"extra": ""}))
        waiting |= {r.name.lower().replace("_", "-") for r in wanted} - set(found)
    return found


def parts(name: str) -> tuple[list[str], list[str]]:
    """Return the packages of an environment, those from conda's channels and those from pip."""
    dependencies = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
    conda = [part for part in dependencies if isinstance(part, str)]
    pip = [package for part in dependencies if isinstance(part, dict) for package in part["pip"]]
    return [part for part in conda if part.split()[0] not in ("python", "pip")], pip


@pytest.mark.slow
@pytest.mark.parametrize("torch", ["linked", "installed"])
@pytest.mark.parametrize("name", MODULES)
def test_environment_is_complete(name, torch, tmp_path):
    conda, pip = parts(name)
    venv.create(tmp_path / "venv", with_pip=True)
    if torch == "linked":
        link((d for d in distributions() if TORCH.fullmatch(d.metadata["Name"])), tmp_path / "venv")
    programs = tmp_path / "venv/bin"
    # As conda activates it, and with a compiler for CUDA that tells when it is called.
    (programs / "nvcc").write_text(f"#!/bin/sh\ntouch {tmp_path}/compiled\nexit 1\n")
    (programs / "nvcc").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"CUDA_HOME": str(programs.parent)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    python = str(programs / "python")
    assert not run(python, "-m", "pip", "install", "--quiet", *conda, *pip)
    script = ROOT / f"envs/{name}.post-deploy.sh"
    if script.exists():
        # What pip built earlier says nothing.
        environment["PIP_NO_CACHE_DIR"] = "1"
        assert not run("bash", str(script))
    assert not (tmp_path / "compiled").exists()
    wrong = run(python, "-m", "pip", "check").splitlines()
    assert [line for line in wrong if not KNOWN.fullmatch(line)] == []
    assert not (name == "preprocess" and not wrong)
    imports = f"import sys; sys.path.insert(0, 'workflow/scripts')\n{IMPORT_ALL}"
    assert not run(python, "-c", imports, *MODULES[name])


def dry_run(project, folder: Path, *names: str) -> subprocess.CompletedProcess:
    """Run Snakemake in an environment that has only those packages and what they require."""
    venv.create(folder)
    link(with_requirements(names).values(), folder)
    command = [folder / "bin/python", "-m", "snakemake", "--configfile", "quick.yaml"]
    command += ["--workflow-profile", "none", "--cores", "1", "--dry-run"]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True)


def test_the_environment_of_snakemake_is_complete(project, tmp_path):
    names = [package.split()[0] for package in parts("snakemake")[0]]
    done = dry_run(project, tmp_path / "venv", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to be done" in done.stdout


def test_what_snakemakes_environment_lacks_is_one_sentence(project, tmp_path):
    done = dry_run(project, tmp_path / "venv", "snakemake")
    assert done.returncode == 1
    (sentence,) = (done.stdout + done.stderr).splitlines()
    command = f"{tmp_path / 'venv/bin/python'} -m pip install pandas"
    assert sentence.startswith(f"Snakemake's own environment lacks pandas: run `{command}`")
    done = dry_run(project, tmp_path / "venv", "snakemake", "pandas")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_environment_is_tested():
    assert {path.stem for path in (ROOT / "envs").glob("*.yaml")} == {*MODULES, "snakemake"}
