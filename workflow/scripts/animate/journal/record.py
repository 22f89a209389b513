"""What a clip was sampled from and by: inputs, seconds, and machine, kernels and packages."""

import json
import platform
from pathlib import Path
from typing import Any

import torch

from animate.atomic import atomic_output
from animate.devices.machine import Machine, driver_version
from animate.installed import installed_versions

PACKAGES = (
    "triton",
    "diffusers",
    "transformers",
    "flash-attn-4",
    "nvidia-cudnn-cu13",
    "av",
    "numpy",
)


def describe(machine: Machine) -> dict[str, Any]:
    """Return the node, its GPU and driver, the number of ranks, and the packages, as JSON values.

    All that can change a frame besides what the clip is made from.
    """
    found = {
        "node": platform.node(),
        "device": str(machine.device.type),
        "ranks": machine.world.size,
        "type": str(machine.dtype).removeprefix("torch."),
        "packages": installed_versions(PACKAGES) | {"torch": torch.__version__},
    }
    if machine.device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(machine.device)
        found["driver"] = driver_version()
        found["cuda"] = torch.version.cuda
    return found


def write_record(
    path: Path,
    key: str,
    inputs: dict[str, dict[str, str]],
    seconds: dict[str, float],
    made_by: list[dict[str, Any]],
    frame: dict[str, Any] | None = None,
) -> None:
    """Write as JSON what a clip's sampler read, how long it took, and what made each segment.

    Args:
        path: the file to write.
        key: the hash of all that the frames are made from.
        inputs: path and SHA-256 of each file that was read, by its role.
        seconds: those of each stage of this process.
        made_by: what sampled each segment. Neighbours that were made alike are one entry, `first`
            to `last` (the first segment is 1) with the `seconds` of all its segments.
        frame: of a video that shows a part of the frames, their `size` and that `part`.
    """
    record = {"key": key, "inputs": inputs, "seconds": seconds, "segments": _runs(made_by)}
    record |= {"frame": frame} if frame else {}
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _runs(made_by: list[dict[str, Any]]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for number, one in enumerate(made_by, start=1):
        alike = {key: value for key, value in one.items() if key != "seconds"}
        if runs and runs[-1]["made_by"] == alike:
            runs[-1]["last"] = number
            runs[-1]["seconds"].append(one.get("seconds"))
        else:
            seconds = [one.get("seconds")]
            runs.append({"first": number, "last": number, "seconds": seconds, "made_by": alike})
    return runs
