"""Weights in fp8: which layers have them, and how a layer's rows are rounded.

Without arithmetic on tokens, so that a copy of the weights can be made where nothing is sampled.
"""

from collections.abc import Iterator

import torch
from torch import nn

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max


def rounded_layers(weights: nn.Module) -> Iterator[str]:
    """Yield the names of the linear layers that are fp8 ones: those tokens pass in every step.

    `weights` is diffusers' transformer, with its own linear layers or with fp8 ones.
    """
    for block in range(len(weights.blocks)):
        for layer in ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0"):
            yield f"blocks.{block}.{layer}"
        for layer in ("attn2.to_q", "attn2.to_out.0", "ffn.net.0.proj", "ffn.net.2"):
            yield f"blocks.{block}.{layer}"
    for adapter in range(len(weights.face_adapter)):
        yield from (f"face_adapter.{adapter}.{layer}" for layer in ("to_q", "to_out"))


def is_rounded(weight: torch.Tensor) -> bool:
    """Tell whether a layer's weight is kept in fp8, be it as such numbers or as their bytes."""
    return weight.dtype in (FP8, torch.uint8)


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows (n, m) in fp8 and the factors (n, 1) fp32 that give them back."""
    scale = x.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (x.float() / scale).clamp_(-LARGEST, LARGEST).to(FP8), scale


def scale_name(weight: str) -> str:
    """Return the name of the factors of an fp8 layer's weight."""
    return weight.removesuffix("weight") + "scale"
