"""One set of pins: the environments of --sdm conda, the lock and pyproject.toml agree."""

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
    pip = by_name(next(item["pip"] for item in dependencies if isinstance(item, dict)))
    assert {name: DECLARED.get(name) for name in pip} == pip


def test_lock_satisfies_every_range():
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    outside = {n: locked.get(n) for n, s in DECLARED.items() if not s.contains(locked.get(n, "0"))}
    assert outside == {}
