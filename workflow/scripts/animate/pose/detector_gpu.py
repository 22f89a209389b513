"""The GPU of a detector or editor (vitpose, sam2, flux): one that no other job uses meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from animate.devices.leases import lease, lease_folder, visible_devices
from animate.errors import ClipError, MachineError


@contextmanager
def detector_gpu(backend: str, device: str) -> Iterator[None]:
    """Show this process one GPU, and hold it, while a detector runs that can use one.

    `device` is "auto", "cpu" or "cuda". With "auto", a job that SLURM gave no GPU sees none, even
    on a node that has some. Enter it before the backend is loaded.
    """
    if device == "cpu" or not can_use_gpu(backend):
        yield
        return
    devices = visible_devices(os.environ)
    if device == "auto" and "SLURM_JOB_ID" in os.environ:
        devices = devices if os.environ.get("CUDA_VISIBLE_DEVICES") else []
    if device == "cuda" and not devices:
        # On a cluster, another node may have one that works.
        kind = MachineError if "SLURM_JOB_ID" in os.environ else ClipError
        raise kind(
            f"detectors is cuda, but {backend} finds no GPU here: set it to auto, or run where a"
            " GPU and its driver are"
        )
    with lease(devices, min(len(devices), 1), lease_folder(os.environ)) as held:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held)
        yield


def can_use_gpu(backend: str) -> bool:
    """Return whether a pose or mask backend, or an editor, runs on a GPU here, if there is one."""
    if backend == "vitpose":
        from animate.pose.backends.onnx import has_gpu_provider

        return has_gpu_provider()
    return backend in ("sam2", "flux")


def gpu_detectors(used: set[str], detectors: str, device: str) -> set[str]:
    """Return for which of the `used` backends a cluster's jobs ask for a GPU.

    With `detectors` "auto" these are the ones that can use it, where the sampler has one (`device`
    is not "cpu").
    """
    if detectors == "cuda":
        return used
    if detectors == "cpu" or device == "cpu":
        return set()
    # Snakemake's own environment may lack what jobs have.
    there = find_spec("onnxruntime") is not None
    return {name for name in used if name != "vitpose" or (there and can_use_gpu(name))}
