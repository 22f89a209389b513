"""CUDA source, compiled by NVRTC and launched by the driver; both come with PyTorch.

Compiled code is kept in TORCHINDUCTOR_CACHE_DIR, when set, for later jobs.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from cuda.bindings import driver, nvrtc

from animate.atomic import atomic_output
from animate.hashing import value_hash

OPTIONS = ("--std=c++17",)
# A block gets no more shared memory without being asked.
SHARED = 48 * 1024


def compiled(source: Path, architecture: str) -> bytes:
    """Return the code of a CUDA source for an architecture such as "sm_90a".

    Raises:
        RuntimeError: NVRTC is missing, or says why it does not compile.
    """
    text = source.read_text(encoding="utf-8")
    options = [f"--gpu-architecture={architecture}", *OPTIONS]
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    key = value_hash([text, options, _checked(nvrtc.nvrtcVersion())])[:16]
    kept = Path(folder, f"{source.stem}_{key}.cubin") if folder else None
    if kept and kept.is_file():
        return kept.read_bytes()
    code = _compile(text, source.name, options)
    if kept:
        with suppress(OSError), atomic_output(kept) as path:
            path.write_bytes(code)
    return code


class CudaCode:
    """The kernels of a CUDA source on this process's current GPU."""

    def __init__(self, source: Path, architecture: str):
        """Compile and load them; raises as `compiled`, or when the GPU does not take the code."""
        # The driver loads code into the GPU's context, which PyTorch makes on its first use.
        torch.cuda.synchronize()
        self._module = _checked(driver.cuModuleLoadData(compiled(source, architecture)))
        self._functions: dict[str, Any] = {}

    def launch(
        self,
        name: str,
        blocks: tuple[int, int],
        threads: int,
        arguments: list[torch.Tensor | int | float | tuple[int, ...]],
        shared: int = 0,
    ) -> None:
        """Start a kernel on the current stream, with `shared` bytes of memory for each block.

        Arguments are pointers for tensors, else int, float, or a struct of 64-bit integers.
        """
        function = self._functions.get(name) or self._function(name, shared)
        values = [_c_value(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        stream = driver.CUstream(torch.cuda.current_stream().cuda_stream)
        grid = *blocks, 1, threads, 1, 1
        at = ctypes.addressof(addresses)
        _checked(driver.cuLaunchKernel(function, *grid, shared, stream, at, 0))

    def _function(self, name: str, shared: int) -> Any:
        function = _checked(driver.cuModuleGetFunction(self._module, name.encode()))
        if shared > SHARED:
            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(function, most, shared))
        self._functions[name] = function
        return function


def _compile(text: str, name: str, options: list[str]) -> bytes:
    program = _checked(nvrtc.nvrtcCreateProgram(text.encode(), name.encode(), 0, [], []))
    try:
        (result,) = nvrtc.nvrtcCompileProgram(
            program, len(options), [option.encode() for option in options]
        )
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
            _checked(nvrtc.nvrtcGetProgramLog(program, log))
            raise RuntimeError(log.decode(errors="replace"))
        code = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
        _checked(nvrtc.nvrtcGetCUBIN(program, code))
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _c_value(argument: torch.Tensor | int | float | tuple[int, ...]) -> Any:
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, tuple):
        return (ctypes.c_longlong * len(argument))(*argument)
    return (ctypes.c_float if isinstance(argument, float) else ctypes.c_int)(argument)


def _checked(result: tuple) -> Any:
    """Return what a call gives beside its error code, which is to be that of success."""
    error, *found = result
    if int(error):
        raise RuntimeError(f"{type(error).__name__} {getattr(error, 'name', error)}")
    return found[0] if len(found) == 1 else found
