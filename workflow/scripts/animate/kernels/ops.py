"""Which operations a model's blocks compute with: plain ones, our kernels, or those of fp8."""

from functools import partial

import torch
from torch import nn

from animate.kernels import fp8
from animate.kernels.widened import WidenedLinear
from animate.model.ops import (
    Ops,
    SelfAttention,
    feed_forward,
    feed_forward_layers,
    same_input,
)
from animate.model.positions import norm_rotate


def choose_ops(attend: SelfAttention, precision: str, fused: bool, widened: bool = False) -> Ops:
    """Return the operations of blocks with self-attention `attend`.

    Args:
        precision: "bf16" or "fp8"; for fp8 the layers are converted, see `convert_to_fp8`.
        fused: use our kernels, which need a GPU and the import of `animate.kernels.fused`.
        widened: layers in fp8 compute in the model's type.
    """
    feed, qkv_input = (fused_feed_forward if fused else feed_forward), same_input
    if precision == "fp8" and not widened:
        # Queries, keys and values have one input: it is rounded once.
        feed, qkv_input = fp8.feed_forward, partial(fp8.quantise, fused=fused)
    return Ops(attend, fused_norm_rotate if fused else norm_rotate, qkv_input, feed)


def fused_norm_rotate(
    x: torch.Tensor, norm: nn.RMSNorm, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Return what `positions.norm_rotate` does, by one kernel."""
    return torch.ops.animate.norm_rotate(x, norm.weight, norm.eps, cos, sin)


def fused_feed_forward(layers: nn.Module, h: torch.Tensor) -> torch.Tensor:
    """Return what diffusers' feed-forward `layers` make of `h`, the GELU made with the product."""
    up, down = feed_forward_layers(layers)
    weight = up.widened() if isinstance(up, WidenedLinear) else up.weight
    return down(torch.ops.animate.linear_gelu(h, weight, up.bias))
