"""Which profile a name means: the workflow's, or a user's own."""

import shutil

import pytest
import yaml

from animate.demo.clips import write_demo
from project import QUICK, ROOT, Project, new_project

NOTICE = "is the workflow's, profiles/local, and not yours: for that, give --profile {}"
DEPLOYED = """
configfile: "config/config.yaml"

module wan_animate:
    snakefile: {source!r}
    config: config

use rule * from wan_animate
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's own profile called local, in the folder where Snakemake looks for it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/snakemake/local"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("quiet: all\n")
    return folder


def said(project, *profile: str) -> str:
    project.profile = profile
    done = project.snakemake("--dry-run")
    return done.stdout + done.stderr


def test_a_users_own_profile_is_not_left_out_in_silence(own, tmp_path):
    project = new_project(tmp_path / "clone")
    project.write_table({"clip": "", "video": "", "reference": "", "mode": ""})
    for profile in (("--profile", "local"), ("--profile=local",)):
        assert NOTICE.format(own) in said(project, *profile)
    assert "not yours" not in said(project, "--profile", str(own))
    assert "not yours" not in said(project, "--profile", "profiles/local")
    (own / "config.yaml").unlink()
    own.rmdir()
    assert "not yours" not in said(project, "--profile", "local")


def test_the_flags_of_the_catalog_work_where_snakedeploy_lays_the_workflow_out(tmp_path):
    folder = tmp_path / "deployed"
    for part in ("config", "profiles"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "workflow").mkdir()
    source = str(ROOT / "workflow/Snakefile")
    (folder / "workflow/Snakefile").write_text(DEPLOYED.format(source=source))
    write_demo(folder / "demo")
    (folder / "config/clips.csv").write_text(
        "clip,video,reference,mode\nx,../demo/driving.mp4,../demo/character.png,animate\n"
    )
    (folder / "quick.yaml").write_text(QUICK)
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    flags = tuple(usage["mandatory-flags"]["flags"].split())
    jobs = Project(folder, profile=flags).pending_jobs()
    assert jobs["x"]["sample"] == jobs["x"]["page"] == 1
