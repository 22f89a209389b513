"""Weights in fp8: which layers have them, and how a layer's rows are rounded.

Without arithmetic on tokens, so that a copy of the weights can be made where nothing is sampled.
"""

from collections.abc import Iterator

import torch
from torch import nn

from animate.weights.kinds import model_kind

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max


def rounded_layers(weights: nn.Module) -> Iterator[str]:
    """Yield the names of the linear layers that are fp8 ones: those tokens pass in every step.

    `weights` is diffusers' transformer, with its own linear layers or with fp8 ones.
    """
    layers = model_kind(weights).rounded
    for block in range(len(weights.blocks)):
        yield from (f"blocks.{block}.{layer}" for layer in layers)
    for adapter in range(len(getattr(weights, "face_adapter", ()))):
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
