"""Where the workflow's own code lies, and how rules and their jobs find it."""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path


def workflow_folder():
    """Return the folder of the workflow; one on a git host is unpacked from Snakemake's clone."""
    rules = workflow.current_basedir
    if not hasattr(rules, "hosted_repo"):
        return Path(rules.get_path_or_uri(secret_free=False)).parents[1]
    clone = rules.hosted_repo.repo
    folder = Path(".snakemake/wan-animate", clone.commit(rules.ref).hexsha).absolute()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            archive = Path(temporary, "archive.tar")
            clone.git.archive(rules.ref, output=str(archive.absolute()))
            unpacked = Path(temporary, "unpacked")
            shutil.unpack_archive(archive, unpacked)
            with contextlib.suppress(FileExistsError):
                unpacked.rename(folder)
    return folder


WORKFLOW = workflow_folder()
SCRIPTS = str(WORKFLOW / "workflow/scripts")
sys.path.insert(0, SCRIPTS)
# Jobs without an environment of their own run in Snakemake's, activated or not; commands name the
# scripts through a variable, so that a moved clone runs nothing again.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    SCRIPTS=SCRIPTS,
)
