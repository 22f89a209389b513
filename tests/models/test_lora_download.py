"""A LoRA of the hub becomes one linked file below the models folder."""

import subprocess
import sys

from models.client import SCRIPTS


def download(client, file):
    command = [sys.executable, SCRIPTS / "download_lora.py", "--repo", "Maker/Model"]
    command += ["--file", file, "--revision", "main", "--output", "models/loras/style.bin"]
    (client.folder / "models" / "loras").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        command, cwd=client.folder, env=client.environment, capture_output=True, text=True
    )


def test_file_is_fetched_once_and_linked(client, hub):
    done = download(client, "b/c.bin")
    assert done.returncode == 0, done.stderr
    assert (client.folder / "models/loras/style.bin").read_bytes() == hub.files["b/c.bin"]
    count = len(hub.downloads("b/c.bin"))
    assert download(client, "b/c.bin").returncode == 0
    assert len(hub.downloads("b/c.bin")) == count


def test_a_file_that_is_not_there_is_named(client):
    done = download(client, "none.bin")
    assert done.returncode == 1
    assert "Maker/Model" in done.stderr and "none.bin" in done.stderr
    assert "Traceback" not in done.stderr
