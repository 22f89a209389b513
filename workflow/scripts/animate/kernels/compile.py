"""Regional compilation: one block is compiled, all forty run it. And whether that can be done."""

import os
import shutil
import sysconfig
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from animate.errors import ClipError
from animate.model.wan import WanTransformer

# Each frame size, length and kind of block is compiled apart. One more would be an error, not
# silently the slow, uncompiled way.
MOST_VERSIONS = 256


def will_compile(wanted: str, device: torch.device, say: Callable[[str], None]) -> bool:
    """Return whether to compile, asked before anything is loaded.

    Args:
        wanted: "on", "off", or "auto": on a GPU when it can be done; `say` is told when it cannot.

    Raises:
        ClipError: it is "on" and something is missing.
    """
    if not _wanted(wanted, device.type):
        return False
    missing = missing_for_compiling()
    if missing and wanted == "on":
        raise ClipError(f"compile is on, but {missing}; or set compile to auto")
    if missing:
        say(f"not compiled, so slower: {missing}")
    return not missing


def can_compile(wanted: str, device_type: str) -> bool:
    """Return what `will_compile` does for "cuda" or "cpu", saying and refusing nothing."""
    return _wanted(wanted, device_type) and missing_for_compiling() is None


def _wanted(wanted: str, device_type: str) -> bool:
    return wanted == "on" or (wanted == "auto" and device_type == "cuda")


def missing_for_compiling() -> str | None:
    """Return what Triton lacks to compile and how to install it, None when all is there."""
    python = f"python{sysconfig.get_python_version()}"
    lacks = {
        "Triton is not installed": "triton" if find_spec("triton") is None else None,
        "there is no C compiler": None if shutil.which(_compiler()) else "gcc",
        f"{python} has no header Python.h": None if _header().is_file() else f"{python}-dev",
    }
    if not any(lacks.values()):
        return None
    problems = " and ".join(problem for problem, package in lacks.items() if package)
    return f"{problems}: install {' and '.join(filter(None, lacks.values()))}"


def _compiler() -> str:
    """Return the C compiler that Triton looks for."""
    return os.environ.get("CC") or ("gcc" if shutil.which("gcc") else "clang")


def _header() -> Path:
    # Debian's own scheme is for packages that pip installs; its headers lie where others' do.
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")
    return Path(sysconfig.get_path("include", scheme)) / "Python.h"


def compile_blocks(model: WanTransformer, any_length: bool) -> None:
    """Compile the blocks, on first use; self-attention stays outside, as it picks its own kernel.

    The compiler fuses norms, modulation and residuals, our kernels the rest. The compiled code is
    kept in TORCHINDUCTOR_CACHE_DIR, when set, for later jobs. With `any_length` it is code for any
    length of the video, else each length has its own.
    """
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    compiled = partial(torch.compile, fullgraph=True, dynamic=None if any_length else False)
    mark = torch._dynamo.maybe_mark_dynamic if any_length else None
    for block in model.blocks:
        block.compile_forward(compiled, mark)
