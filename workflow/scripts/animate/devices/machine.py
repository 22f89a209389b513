"""Which device a rank computes on, and why one that should start does not."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from animate.devices.leases import NO_GPU
from animate.devices.world import ALONE, World
from animate.errors import MachineError

# The oldest NVIDIA driver of each CUDA generation:
# https://docs.nvidia.com/deploy/cuda-compatibility/
OLDEST_DRIVER = {"11": "450.80", "12": "525.60", "13": "580.65"}
# What installs a PyTorch for each of them, the newest first; "" is the lock's own.
BUILDS = {"13": "make install PYTORCH=", "12": "make install PYTORCH=cu126"}
# Bytes of a transformer that a CPU samples in minutes; the published one has 34 billion.
SMALL_MODEL = 1 << 30


@dataclass(frozen=True)
class Machine:
    """Where and in which type the transformer computes, and which ranks share the clip.

    `compiling` is "auto", "on" or "off"; `staged` a copy of the model on the machine's own disk.
    """

    device: torch.device
    dtype: torch.dtype
    world: World = ALONE
    compiling: str = "auto"
    staged: Path | None = None


def machine_of(world: World, device_type: str, **options) -> Machine:
    """Return the rank's GPU with bf16, or the CPU with fp32, where bf16 is slower, not faster."""
    if device_type == "cuda":
        return Machine(torch.device("cuda", world.local_rank), torch.bfloat16, world, **options)
    return Machine(torch.device("cpu"), torch.float32, world, **options)


def choose_device(
    wanted: str,
    model: Path,
    environment: Mapping[str, str] = os.environ,
    setting: str = "device",
) -> str:
    """Return "cuda" or "cpu" for a process that samples with the model folder `model`.

    Args:
        wanted: "cpu" or "cuda", or "auto": the GPU that the job was given or that is there. The
            CPU is then taken only without a GPU and for a small model.
        setting: the key of config.yaml that says it, for errors.

    Raises:
        ClipError: the GPU does not start, or there is none and the model is too large for a CPU.
    """
    if wanted == "cpu":
        return "cpu"
    given = environment.get("CUDA_VISIBLE_DEVICES", "") not in NO_GPU
    if wanted == "cuda" or given or torch.cuda.is_available():
        _start_gpu(int(environment.get("LOCAL_RANK", 0)), setting)
        return "cuda"
    if _transformer_bytes(model) > SMALL_MODEL:
        raise MachineError(
            f"no GPU was found on {platform.node()}, and on its CPU {model.name} would take too"
            f" long: run it where a GPU is, or set `{setting}: cpu` in config.yaml to wait for it"
        )
    return "cpu"


def _start_gpu(index: int, setting: str) -> None:
    """Start CUDA and compute something on this rank's GPU, or say in one sentence why not."""
    try:
        torch.cuda.init()
        count = torch.cuda.device_count()
        if index >= count:
            raise RuntimeError(f"rank {index} needs a GPU of its own and CUDA finds {count}")
        torch.zeros(1, device=torch.device("cuda", index)).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        raise MachineError(_why_not(error, setting)) from error


def _why_not(error: Exception, setting: str) -> str:
    words = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
    held = f"the GPU that this job holds on {platform.node()} does not start: {words}"
    return f"{held}; {_remedy()}, or set `{setting}: cpu` in config.yaml"


def _remedy() -> str:
    """Return what to do about a GPU that does not start."""
    driver, cuda = driver_version(), torch.version.cuda
    build = _build_for(driver)
    if cuda is None:
        without = f"PyTorch {torch.__version__} is built without CUDA"
        return f"{without}: {build or 'install one with it'}"
    oldest = OLDEST_DRIVER.get(cuda.split(".")[0], "")
    needed = f"PyTorch {torch.__version__} for CUDA {cuda} needs driver {oldest} or newer"
    if driver is None:
        return f"no NVIDIA driver answers, and {needed}: install it, or take another node"
    if _numbers(driver) < _numbers(oldest):
        instead = f"{build}, update the driver" if build else "update it"
        return f"its NVIDIA driver is {driver}, and {needed}: {instead}, or take another node"
    return "see whether another program uses it, set gpus lower, or take another node"


def _build_for(driver: str | None) -> str | None:
    """Return what installs a PyTorch that works with the driver, None where nothing does."""
    for cuda, command in BUILDS.items():
        if driver and _numbers(driver) >= _numbers(OLDEST_DRIVER[cuda]):
            return f"run `{command}`"
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def driver_version() -> str | None:
    """Return the version of the NVIDIA driver, None where none answers."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer[0] if answer else None


def _transformer_bytes(model: Path) -> int:
    # Older editors have a U-Net in its place.
    files = (
        file for part in ("transformer", "unet") for file in (model / part).glob("*.safetensors")
    )
    return sum(file.stat().st_size for file in files)
