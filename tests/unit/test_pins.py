"""One set of pins: the environments of --sdm conda, the lock and pyproject.toml agree."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def by_name(lines):
    return {r.name.lower().replace("_", "-"): r.specifier for r in map(Requirement, lines)}


DECLARED = by_name(PROJECT["dependencies"] + EXTRAS["test"] + EXTRAS["sam2"])


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.stem)
def test_environment_has_the_projects_ranges(path):
    dependencies = yaml.safe_load(path.read_text("utf-8"))["dependencies"]
    script = path.with_suffix(".post-deploy.sh")
    lines = script.read_text("utf-8").splitlines() if script.exists() else []
    lines = [re.search(r'"(.+)"$', line)[1] for line in lines if "pip install" in line]
    for part in dependencies:
        lines += [part] if isinstance(part, str) else part["pip"]
    found = by_name(lines)
    # Not the project's own to choose.
    for name in ("python", "pip", "setuptools"):
        found.pop(name, None)
    assert found and {name: DECLARED.get(name) for name in found} == found


def test_lock_satisfies_every_range():
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    outside = {n: locked.get(n) for n, s in DECLARED.items() if not s.contains(locked.get(n, "0"))}
    assert outside == {}
