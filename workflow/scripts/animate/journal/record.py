"""What sampled each segment of a clip: machine, GPU, kernels and packages."""

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


def write_record(path: Path, made_by: list[dict[str, Any]]) -> None:
    """Write a JSON list of runs of segments, each with what sampled it.

    `made_by` is that of every segment. Neighbours made alike are one entry, `first` to `last` (the
    first segment is 1) with the `seconds` of all its segments.
    """
    runs: list[dict[str, Any]] = []
    for number, one in enumerate(made_by, start=1):
        alike = {key: value for key, value in one.items() if key != "seconds"}
        if runs and runs[-1]["made_by"] == alike:
            runs[-1]["last"] = number
            runs[-1]["seconds"].append(one.get("seconds"))
        else:
            seconds = [one.get("seconds")]
            runs.append({"first": number, "last": number, "seconds": seconds, "made_by": alike})
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(runs, indent=2) + "\n", "utf-8")
