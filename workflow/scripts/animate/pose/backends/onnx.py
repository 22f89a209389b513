"""ONNX networks on the processor that was asked for."""

import logging
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
)

from animate.errors import ClipError

GPU_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
UNREADABLE = (InvalidProtobuf, InvalidGraph, NoSuchFile, Fail)


def has_gpu_provider() -> bool:
    """Return whether the installed onnxruntime can run on a GPU."""
    return GPU_PROVIDER in onnxruntime.get_available_providers()


class Network:
    """An ONNX network with one image input (n, 3, h, w) and its first output.

    `device` is "cpu", "cuda", or "auto": the GPU when onnxruntime has it. Raises ClipError when the
    file is missing or damaged, and when a GPU was asked for but only the CPU could be used.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        # The published pose network is a folder: its weights are files of their own.
        path = path / "end2end.onnx" if path.is_dir() else path
        if not path.is_file():
            raise ClipError(f"model file {path} is missing; download the preprocessing models")
        has_gpu = has_gpu_provider()
        wants_gpu = device == "cuda" or (device == "auto" and has_gpu)
        providers = [GPU_PROVIDER] * (wants_gpu and has_gpu) + [CPU_PROVIDER]
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=providers)
        except UNREADABLE as error:
            raise ClipError(
                f"model file {path}, or a file of its folder, is damaged ({error}); download it"
                " again"
            ) from error
        if wants_gpu and GPU_PROVIDER not in self._session.get_providers():
            problem = f"onnxruntime loaded only its CPU provider for {path.name}"
            if device == "cuda":
                raise ClipError(
                    f"{problem}, not the GPU's; install onnxruntime-gpu, or set detectors to cpu"
                )
            logging.warning(problem)
        self._input = self._session.get_inputs()[0]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the output (n, ...) for float32 `images` (n, 3, h, w), in batches it accepts."""
        batch = self._input.shape[0]
        size = batch if isinstance(batch, int) else len(images)
        missing = -len(images) % size
        # A network of a fixed batch takes no fewer.
        padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
        outputs = [
            self._session.run(None, {self._input.name: padded[start : start + size]})[0]
            for start in range(0, len(padded), size)
        ]
        return np.concatenate(outputs)[: len(images)]
