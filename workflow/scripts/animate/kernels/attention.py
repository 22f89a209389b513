"""The fastest self-attention that is installed and gives the right answer on all devices."""

import importlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from animate.devices.world import ALONE, World
from animate.kernels.imports import FLASH_3, FLASH_4
from animate.model.attention import Attention, attention

# Batch, tokens and heads of the trial: a sequence with a ragged end.
TRIAL_SHAPE = (1, 1000, 2)
TOLERANCE = 0.02

Kernels = dict[str, Callable[[], Attention]]


def choose_attention(
    device: torch.device, head_size: int, world: World = ALONE, kernels: Kernels | None = None
) -> tuple[str, Attention]:
    """Return the name and function of the first kernel that works on every rank's device.

    `kernels` are builders by name, fastest first; by default `KERNELS` on a GPU, none on a CPU.
    FlashAttention-4 and -3 (arXiv:2407.08608) count when their packages are installed, and only on
    Hopper or later.
    """
    if kernels is None:
        kernels = KERNELS if device.type == "cuda" else {}
    for name, build in kernels.items():
        attend = working(build, device, head_size)
        if all(world.gather(attend is not None)):
            return name, attend
    return "plain", attention


def working(
    build: Callable[[], Attention], device: torch.device, head_size: int
) -> Attention | None:
    """Return a kernel, None when it fails on a small input or disagrees with plain arithmetic."""
    generator = torch.Generator(device).manual_seed(0)
    shape = (*TRIAL_SHAPE, head_size)
    q, k, v = (
        torch.randn(shape, device=device, dtype=torch.bfloat16, generator=generator)
        for _ in range(3)
    )
    expected = attention(q.float(), k.float(), v.float())
    try:
        attend = build()
        error = (attend(q, k, v).float() - expected).norm() / expected.norm()
    except Exception:
        return None
    return attend if error < TOLERANCE else None


def _flash_4() -> Attention:
    kernel = importlib.import_module(FLASH_4).flash_attn_func
    return lambda q, k, v: _first(kernel(q, k, v))


def _wide_flash_4() -> Attention:
    # Twelve warps of queries share each key: 1% faster than the package's choice on an H200.
    kernel = importlib.import_module(f"{FLASH_4}.interface")._flash_attn_fwd
    tiles = {"tile_mn": (192, 128), "mma_pv_is_rs": False, "num_threads": 512}
    return lambda q, k, v: _first(kernel(q, k, v, **tiles))


def _flash_3() -> Attention:
    kernel = importlib.import_module(FLASH_3).flash_attn_func
    return lambda q, k, v: _first(kernel(q, k, v))


def _sdpa(backend: SDPBackend) -> Callable[[], Attention]:
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

    return lambda: attend


def _first(result: torch.Tensor | tuple) -> torch.Tensor:
    return result[0] if isinstance(result, tuple) else result


KERNELS: Kernels = {
    "FlashAttention-4, wide tiles": _wide_flash_4,
    "FlashAttention-4": _flash_4,
    "FlashAttention-3": _flash_3,
    "cuDNN": _sdpa(SDPBackend.CUDNN_ATTENTION),
    "FlashAttention-2": _sdpa(SDPBackend.FLASH_ATTENTION),
    "memory-efficient": _sdpa(SDPBackend.EFFICIENT_ATTENTION),
}
