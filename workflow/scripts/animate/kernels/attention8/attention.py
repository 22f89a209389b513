"""Attention by a kernel that computes in 8 bits, as the models call it.

Rounded are the queries, each token with a scale; the keys less their mean, a few tokens with one
scale; and the values less their mean, each channel with a scale. The keys' mean adds the same to
all scores of a query, so what it finds does not change. Shapes: B batch, L queries, N keys,
H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from animate.model.attention import Partial

# What the kernels take.
HEAD_SIZE = 128
# Numbers of bf16 that are read at once.
ALIGNMENT = 8


class Kernel(Protocol):
    """Rounds and attends on a GPU; tensors of the model are bf16."""

    def round_keys(self, k: torch.Tensor, v: torch.Tensor) -> Any:
        """Return keys and values (B, N, H, 128), rounded, as `attend` takes them."""

    def attend(self, q: torch.Tensor, keys: Any) -> Partial:
        """Return attention of `q` (B, L, H, 128) over rounded keys, and its sums (B, L, H)."""


@dataclass(frozen=True)
class Attention8:
    """Attention of a kernel; called as `attention`, or as `partial_attention` by `partial`."""

    kernel: Kernel

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return attention of `q` (B, L, H, 128) over `k` and `v` (B, N, H, 128), all bf16."""
        return self.partial(q, k, v)[0]

    def partial(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Partial:
        """Return the same, and the logarithm of the sum of its weights, (B, L, H) fp32."""
        return self.kernel.attend(q, self.kernel.round_keys(k, v))

    def over(self, k: torch.Tensor, v: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return attention of any queries over these keys, which are rounded once, now."""
        keys = self.kernel.round_keys(k, v)
        return lambda q: self.kernel.attend(q, keys)[0]


def readable(x: torch.Tensor) -> torch.Tensor:
    """Return `x` (B, N, H, 128), copied where a kernel could not read 8 numbers of it at once."""
    if x.dtype != torch.bfloat16 or x.shape[3] != HEAD_SIZE:
        raise ValueError(f"8-bit attention of {x.dtype} and heads of {x.shape[3]}")
    odd = any(stride % ALIGNMENT for stride in x.stride()[:3]) or x.storage_offset() % ALIGNMENT
    # `contiguous` would leave one as it is whose beginning alone is odd.
    return x.clone(memory_format=torch.contiguous_format) if odd or x.stride(3) != 1 else x


def round_up(count: int, unit: int) -> int:
    """Return the first multiple of `unit` that is no less."""
    return -(-count // unit) * unit
