"""A working directory with a models.yaml, and the project's scripts run in it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
DECLARATION = {
    "cache": "cache",
    "repositories": {"Maker/Model": {"revision": "main"}},
    "models": {
        "toy": {
            "parts": {
                "weights": {
                    "purpose": "tests",
                    "repository": "Maker/Model",
                    "files": ["a.bin", "b/*", "config.json"],
                }
            }
        }
    },
}


class Client:
    """Runs scripts as the rules do, in processes of their own, against one hub."""

    def __init__(self, folder: Path, endpoint: str):
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf_home"),
        }
        (folder / "config").mkdir(exist_ok=True)
        self.declare(DECLARATION)

    def declare(self, declaration: dict, name: str = "models.yaml") -> None:
        path = self.folder / "config" / name
        path.write_text(yaml.safe_dump(declaration), "utf-8")

    def start(self, script: str, *options: str, needs=("--needs", "toy:weights")):
        command = [sys.executable, SCRIPTS / f"{script}.py", *needs, *options]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell's background jobs, which these tests may be, ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, script: str, *options: str, **needs) -> str:
        """Return what a script that must succeed prints, its log included."""
        process = self.start(script, *options, **needs)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def fail(self, script: str, *options: str) -> str:
        """Return the last line of a script that must fail, without a traceback."""
        process = self.start(script, *options)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert "Traceback" not in output
        return output.splitlines()[-1]

    def installed(self) -> dict[str, bytes]:
        """Return the files that the model's folder shows, by name."""
        folder = self.folder / "models" / "toy"
        links = [path for path in folder.rglob("*") if path.is_symlink()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in links}

    def lock(self) -> dict:
        return yaml.safe_load((self.folder / "config" / "models.lock.yaml").read_text("utf-8"))
