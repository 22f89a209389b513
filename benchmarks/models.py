"""Seconds and peak memory of models_status and verify_models on a tree of sparse files.

The tree has many small files, large shards and one huge file, which read as zeros. They are pinned
with the hash of zeros, so that verification hashes every byte and finds it good.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
REPOSITORY = "Maker/Model"
COMMIT = "c" * 40
SMALL_FILES, SMALL_BYTES, SHARDS = 200, 2_000_000, 6
BLOCK = 1 << 22


def main(gigabytes: float, folder: Path) -> None:
    """Print one row of the table for each script."""
    total = int(gigabytes * 1e9)
    sizes = {f"small/{n}.bin": SMALL_BYTES for n in range(SMALL_FILES)}
    large = total - sum(sizes.values())
    sizes |= {f"shards/{n}.bin": large // 2 // SHARDS for n in range(SHARDS)}
    sizes["huge.bin"] = large // 2
    write_tree(folder, sizes)
    for script in ("models_status", "verify_models"):
        seconds, peak, output = measured(script, folder)
        assert script == "models_status" or f"{len(sizes)} of {len(sizes)} pinned" in output, output
        print(f"| {script} | {gigabytes:g} | {len(sizes)} | {seconds:.1f} | {peak / 1e6:.0f} |")


def write_tree(folder: Path, sizes: dict[str, int]) -> None:
    """Write sparse files of these sizes, what declares them, and a lock that pins them."""
    for name, size in sizes.items():
        path = folder / "weights" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
    hashes = {size: hash_of_zeros(size) for size in set(sizes.values())}
    files = {name: {"size": size, "sha256": hashes[size]} for name, size in sizes.items()}
    part = {"purpose": "benchmark", "repository": REPOSITORY, "files": ["*"]}
    declaration = {
        "repositories": {REPOSITORY: {"path": str(folder / "weights")}},
        "models": {"toy": {"parts": {"weights": part}}},
    }
    lock = {REPOSITORY: {"revision": "main", "commit": COMMIT, "files": files}}
    for name, content in {"models.yaml": declaration, "models.lock.yaml": lock}.items():
        path = folder / "config" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content), "utf-8")


def hash_of_zeros(size: int) -> str:
    """Return the SHA-256 of this many zeros."""
    digest, block = hashlib.sha256(), bytes(BLOCK)
    for start in range(0, size, BLOCK):
        digest.update(block[: size - start])
    return digest.hexdigest()


def measured(script: str, folder: Path) -> tuple[float, int, str]:
    """Return a script's seconds, peak resident bytes, and what it printed."""
    command = [sys.executable, SCRIPTS / f"{script}.py", "--needs", "toy:weights"]
    with tempfile.TemporaryFile("w+") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        output.seek(0)
        text = output.read()
    assert status == 0, text
    return seconds, usage.ru_maxrss * 1024, text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=60)
    with tempfile.TemporaryDirectory() as temporary:
        main(parser.parse_args().gigabytes, Path(temporary))
