"""Which profile a name means: the workflow's, or a user's own."""

from pathlib import Path

import pytest
import yaml

from project import ROOT, new_project

NOTICE = "is the workflow's, profiles/local, and not yours: for that, give --profile {}"


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


def test_the_flags_of_the_catalog_name_a_profile_of_the_workflow():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    option, profile = usage["mandatory-flags"]["flags"].split()
    assert option == "--profile" and (Path(ROOT, profile) / "config.yaml").is_file()
