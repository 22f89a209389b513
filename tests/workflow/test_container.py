"""--sdm apptainer: every job runs in the one image, with the image's Python."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from project import ROOT
from set_up import ROOT as SET_UP

# Stands in for the program: runs the command with the image's variables in place of the host's.
APPTAINER = """#!/bin/sh
if [ "$1" = --version ]; then echo apptainer version 1.4.1; exit; fi
while [ "$1" != wan-animate.sif ]; do shift; done
echo "$4" >> {log}; shift
PATH={image}:/usr/bin:/bin exec "$@"
"""


@pytest.mark.slow
def test_every_job_runs_in_the_image(project, tmp_path):
    programs, image, log = tmp_path / "bin", tmp_path / "image", tmp_path / "log"
    for folder in (programs, image):
        folder.mkdir()
    (programs / "apptainer").write_text(APPTAINER.format(log=log, image=image))
    (image / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    for program in (programs / "apptainer", image / "python"):
        program.chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "--profile", "local", "--sdm", "apptainer"]
    command += ["--configfile", "quick.yaml", "--forcerun", "reference", "mux"]
    environment = os.environ | {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "--", "all"], cwd=project.folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = log.read_text().split()
    assert {"reference.py", "mux.py"} <= {Path(word.strip('"')).name for word in jobs}


def test_the_image_gets_all_that_its_build_reads():
    """What is copied is what the script reads, and the context has it."""
    lines = (ROOT / "envs/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in allowed if line.startswith("!")} == set(copied)
    assert all((ROOT / file).is_file() for file in copied)
    text = (SET_UP / "workflow/scripts/set_up.py").read_text()
    read = {name for name in ("requirements.lock", "pyproject.toml") if f'"{name}"' in text}
    assert read | {"workflow/scripts/set_up.py"} == set(copied)


def test_the_catalog_names_how_the_software_comes():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["software-stack-deployment"] == {"conda": True, "apptainer": True}
    assert 'container: "wan-animate.sif"' in (ROOT / "workflow/Snakefile").read_text()
