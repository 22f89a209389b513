"""The record that explains a result: settings, inputs, weights, packages and machine."""

import json
import platform
from pathlib import Path
from typing import Any

from animate.hashing import content_hash, file_hash
from animate.installed import installed_versions

PACKAGES = (
    "av",
    "diffusers",
    "mediapipe",
    "numpy",
    "onnxruntime",
    "opencv-contrib-python-headless",
    "sam2",
    "snakemake",
    "torch",
    "transformers",
)


def make_provenance(
    clip: str,
    settings: dict[str, Any],
    inputs: dict[str, Path],
    timeline: dict[str, Any],
    sampled: dict[str, Any],
    sampling: dict[str, Any],
    figures: dict[str, Any],
    model: Path,
    weights: dict[str, list[str]],
    result: Path,
) -> dict[str, Any]:
    """Return the JSON record of one result.

    `inputs` maps a role to the user's file or folder; `sampled` is the sampler's settings file,
    `sampling` its own record: the files that it read, its seconds, and what sampled each segment.
    `figures` say how good the result is. `model` is the model folder, whose index and
    configurations are hashed; `weights` maps the sources.json of other folders to the names of the
    parts that the clip used.
    """
    # Of the model's frame.
    part = sampling.get("frame", {}).get("part")
    return {
        "clip": clip,
        "mode": sampled["mode"],
        "settings": settings,
        "inputs": {
            role: {"path": str(path), "sha256": content_hash(path)} for role, path in inputs.items()
        },
        "output": {
            "path": str(result),
            "sha256": file_hash(result),
            "frames": timeline["frame_count"],
            "frame_rate": timeline["frame_rate"],
            "size": part[2:] if part else timeline["model_size"],
        },
        "model": _model_record(model),
        "weights": {
            str(Path(path).parent): {name: read_json(Path(path)).get(name) for name in parts}
            for path, parts in weights.items()
        },
        "sampling": sampling,
        "figures": figures,
        "packages": installed_versions(PACKAGES),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
    }


def _model_record(model: Path) -> dict[str, Any]:
    """Return the folder, its configurations' hashes and, of downloads, commits and file hashes."""
    files = sorted(model.glob("*.json")) + sorted(model.glob("*/config.json"))
    hashes = {str(file.relative_to(model)): file_hash(file) for file in files}
    sources = model / "sources.json"
    downloads = {"sources": read_json(sources)} if sources.exists() else {}
    return {"path": str(model), "configurations": hashes, **downloads}


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text("utf-8"))
