"""What takes seconds to import and is used after the weights only: imported while they are read.

One thread makes all these imports, one after the other, as FlashAttention-4 imports the compiler,
too: of two threads that import the same packages, one may find them half made. For the same reason
nothing else that imports the compiler may be imported until they are over.
"""

import importlib
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

COMPILER = "torch._inductor.compile_fx"
OUR_KERNELS = "animate.kernels.fused"
# Packages with attention for Hopper and later, fastest first.
FLASH_4, FLASH_3 = "flash_attn.cute", "flash_attn_interface"


class Imports:
    """The imports that a device's compiler and attention take, from the moment this is made."""

    def __init__(self, device_type: str, compiled: bool):
        """Import nothing of the compiler unless `compiled`, and no attention for "cpu"."""
        thread = ThreadPoolExecutor(1)
        names = [COMPILER] if compiled else []
        if compiled and device_type == "cuda":
            names.append(OUR_KERNELS)
        self._compiler = [thread.submit(importlib.import_module, name) for name in names]
        self._all = list(self._compiler)
        if device_type == "cuda":
            self._all.append(thread.submit(_import_attention))
        thread.shutdown(wait=False)

    def __enter__(self) -> "Imports":
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def compiler(self) -> None:
        """Wait until the compiler can be used; what its import raised is raised."""
        for future in self._compiler:
            future.result()

    def wait(self) -> None:
        """Wait until all are over; as `compiler`. A package of attention fails in its trial."""
        wait(self._all)
        self.compiler()

    def close(self) -> None:
        """Begin no other import, and wait for the one under way."""
        for future in self._all:
            future.cancel()
        wait(self._all)


def _import_attention() -> None:
    """Import the first of the packages that can be imported."""
    for name in (FLASH_4, FLASH_3):
        with suppress(Exception):
            importlib.import_module(name)
            return
