"""The fastest self-attention that is installed and gives the right answer on all devices."""

import importlib
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from animate.devices.world import ALONE, World
from animate.kernels.imports import FLASH_3, FLASH_4
from animate.model.attention import (
    Attention,
    Partial,
    PartialAttention,
    attention,
    partial_attention,
)

# Batch, tokens and heads of the trial: a sequence with a ragged end.
TRIAL_SHAPE = (1, 1000, 2)
TOLERANCE = 0.02

# Twelve warps of queries share each key: 1% faster than FlashAttention-4's own choice on an H200.
WIDE_TILES = {"tile_mn": (192, 128), "mma_pv_is_rs": False, "num_threads": 512}

Kernel = TypeVar("Kernel")
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

    def error(attend: Attention) -> float:
        q, k, v = trial_input(device, head_size)
        return relative_error(attend(q, k, v), attention(q.float(), k.float(), v.float()))

    return first_working(kernels, error, world) or ("plain", attention)


def choose_partial_attention(
    device: torch.device,
    head_size: int,
    world: World = ALONE,
    kernels: dict[str, Callable[[], PartialAttention]] | None = None,
) -> tuple[str, PartialAttention]:
    """Return the same of attention over some of the keys, with the sums by which it is merged.

    By default of `PARTIAL_KERNELS`.
    """
    if kernels is None:
        kernels = PARTIAL_KERNELS if device.type == "cuda" else {}

    def error(attend: PartialAttention) -> float:
        q, k, v = trial_input(device, head_size)
        found = attend(q, k, v)
        expected = partial_attention(q.float(), k.float(), v.float())
        return max(map(relative_error, found, expected))

    return first_working(kernels, error, world) or ("plain", partial_attention)


def first_working(
    kernels: dict[str, Callable[[], Kernel]],
    error: Callable[[Kernel], float],
    world: World,
    tolerance: float = TOLERANCE,
) -> tuple[str, Kernel] | None:
    """Return the first kernel that every rank can build and finds to be right, by its `error`."""
    for name, build in kernels.items():
        attend = None
        with suppress(Exception):
            made = build()
            attend = made if error(made) < tolerance else None
        if all(world.gather(attend is not None)):
            return name, attend
    return None


def trial_input(device: torch.device, head_size: int) -> list[torch.Tensor]:
    """Return queries, keys and values of `TRIAL_SHAPE` in bf16."""
    generator = torch.Generator(device).manual_seed(0)
    options = {"device": device, "dtype": torch.bfloat16, "generator": generator}
    return [torch.randn((*TRIAL_SHAPE, head_size), **options) for _ in range(3)]


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over that of what is expected, which is fp32.

    Raises:
        ValueError: the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{tuple(found.shape)} instead of {tuple(expected.shape)}")
    error = float((found.float() - expected).norm() / expected.norm())
    # No comparison holds of what is no number: `max` would pass over it.
    return math.inf if math.isnan(error) else error


def _flash_4() -> Attention:
    kernel = importlib.import_module(FLASH_4).flash_attn_func
    return lambda q, k, v: _first(kernel(q, k, v))


def _wide_flash_4() -> Attention:
    kernel = importlib.import_module(f"{FLASH_4}.interface")._flash_attn_fwd
    return lambda q, k, v: _first(kernel(q, k, v, **WIDE_TILES))


def _flash_3() -> Attention:
    kernel = importlib.import_module(FLASH_3).flash_attn_func
    return lambda q, k, v: _first(kernel(q, k, v))


def _sdpa(backend: SDPBackend) -> Callable[[], Attention]:
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

    return lambda: attend


def _partial_flash_4(tiles: dict) -> Callable[[], PartialAttention]:
    def build() -> PartialAttention:
        kernel = importlib.import_module(f"{FLASH_4}.interface")._flash_attn_fwd
        return lambda q, k, v: _by_tokens(kernel(q, k, v, return_lse=True, **tiles))

    return build


def _partial_flash_3() -> PartialAttention:
    kernel = importlib.import_module(FLASH_3).flash_attn_func
    return lambda q, k, v: _by_tokens(kernel(q, k, v, return_attn_probs=True))


def _partial_cudnn() -> PartialAttention:
    kernel = torch.ops.aten._scaled_dot_product_cudnn_attention

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Partial:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out, log_sum, *_ = kernel(q, k, v, None, True)
        return _by_tokens((out.transpose(1, 2), log_sum[..., 0]))

    return attend


def _partial_flash_2() -> PartialAttention:
    kernel = torch.ops.aten._scaled_dot_product_flash_attention

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Partial:
        out, log_sum, *_ = kernel(*(x.transpose(1, 2) for x in (q, k, v)))
        return _by_tokens((out.transpose(1, 2), log_sum))

    return attend


def _by_tokens(result: tuple) -> Partial:
    """Return what a kernel found, with the sums (B, H, L) as (B, L, H)."""
    out, log_sum, *_ = result
    return out, log_sum.transpose(1, 2)


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
PARTIAL_KERNELS: dict[str, Callable[[], PartialAttention]] = {
    "FlashAttention-4, wide tiles": _partial_flash_4(WIDE_TILES),
    "FlashAttention-4": _partial_flash_4({}),
    "FlashAttention-3": _partial_flash_3,
    "cuDNN": _partial_cudnn,
    "FlashAttention-2": _partial_flash_2,
}
