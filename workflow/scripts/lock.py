"""Write requirements.lock: one version of every package, as pip resolves pyproject.toml."""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main():
    pins = resolve(".[test]")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins.pop(project["name"])
    # MediaPipe asks for it; the project's own is the same without windows and system libraries.
    pins.pop("opencv-contrib-python")
    # Its build needs the installed torch, so pip cannot resolve it with the others.
    exact = project["optional-dependencies"]["sam2"]
    lines = sorted([f"{name}=={version}" for name, version in pins.items()] + exact)
    header = "# Resolved from pyproject.toml by `make lock`; for Python 3.11 and 3.12.\n"
    (ROOT / "requirements.lock").write_text(header + "\n".join(lines) + "\n", "utf-8")


def resolve(requirement):
    """Return {name: version} of everything that pip would install for a requirement."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", report.name, requirement]
        subprocess.run(command, check=True, cwd=ROOT)
        installed = json.loads(Path(report.name).read_text("utf-8"))["install"]
    return {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
        for item in installed
    }


if __name__ == "__main__":
    main()
