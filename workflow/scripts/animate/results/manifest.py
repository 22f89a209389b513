"""The record of a whole run: which clips are finished, by what, from which table and settings."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

from animate.atomic import atomic_output
from animate.config.configuration import Configuration
from animate.config.table import Table
from animate.hashing import file_hash
from animate.installed import installed_versions
from animate.results.provenance import PACKAGES, read_json

WORKFLOW = Path(__file__).parents[3]


def make_manifest(config: Configuration, table: Table) -> dict[str, Any]:
    """Return the manifest: one entry per clip with its verdict, and the hashes of its record and
    its video."""
    results = Path(config.results)
    return {
        "workflow": {"commit": workflow_commit(), "packages": installed_versions(PACKAGES)},
        "config": config.model_dump(mode="json", exclude_unset=True),
        "table": {"path": str(table.path), "sha256": file_hash(table.path)},
        "clips": {name: _clip_entry(results / name, name) for name in table.clips},
        "refused": {str(row): lines for row, lines in table.row_mistakes.items()},
    }


def _clip_entry(folder: Path, name: str) -> dict[str, Any]:
    record, judged = folder / f"{name}.json", folder / "verdict.json"
    verdict = read_json(judged) if judged.is_file() else None
    if not record.is_file():
        return {"finished": False, "verdict": verdict}
    content = read_json(record)
    output = content["output"]
    return {
        "finished": True,
        "verdict": verdict,
        "record": {"path": str(record), "sha256": file_hash(record)},
        "video": {"path": output["path"], "sha256": output["sha256"]},
        "figures": content["figures"],
    }


def workflow_commit() -> str | None:
    """Return the commit of the workflow's code, with "+" when files differ; None without git."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", ".")
    return commit and commit + ("+" if changed else "")


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=WORKFLOW, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest as JSON."""
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")


def write_table(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest's clips as tab-separated values, one in a row."""
    with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as to:
        rows = csv.writer(to, delimiter="\t", lineterminator="\n")
        rows.writerow(["clip", "finished", "verdict", "why", "video", "sha256"])
        for name, entry in manifest["clips"].items():
            verdict = entry["verdict"] or {"state": "", "sentences": []}
            video = entry.get("video", {"path": "", "sha256": ""})
            finished = "yes" if entry["finished"] else "no"
            why = " ".join(verdict["sentences"])
            rows.writerow([name, finished, verdict["state"], why, video["path"], video["sha256"]])
