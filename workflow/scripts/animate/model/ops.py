"""The operations of a transformer block that have faster ways on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from animate.model.positions import norm_rotate

# As `TokenSharding.attend`.
SelfAttention = Callable[..., torch.Tensor]
NormRotate = Callable[[torch.Tensor, nn.RMSNorm, torch.Tensor, torch.Tensor], torch.Tensor]


def same_input(h: torch.Tensor) -> torch.Tensor:
    """Return `h`."""
    return h


def feed_forward_layers(layers: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the two linear layers of diffusers' feed-forward, which has a GELU between them."""
    if isinstance(layers, nn.Sequential):
        return layers[0], layers[2]
    return layers.net[0].proj, layers.net[2]


def feed_forward(layers: nn.Module, h: torch.Tensor) -> torch.Tensor:
    """Return what diffusers' feed-forward `layers` make of `h` (B, L, C)."""
    return layers(h)


@dataclass(frozen=True)
class Ops:
    """What a block computes with; all but `attend` are plain PyTorch by default.

    attend: self-attention of this process's q, k, v (B, L, H, D) over a number of tokens, in a way
        of the model's own if it has one; see `TokenSharding.attend`.
    norm_rotate: RMS norm and rotary positions of queries and keys; see `positions.norm_rotate`.
    qkv_input: what the layers of queries, keys and values take in place of (B, L, C).
    feed_forward: the feed-forward layers applied to (B, L, C).
    """

    attend: SelfAttention
    norm_rotate: NormRotate = norm_rotate
    qkv_input: Callable[[torch.Tensor], Any] = same_input
    feed_forward: Callable[[nn.Module, torch.Tensor], torch.Tensor] = feed_forward
