"""fp8 linear layers: e4m3 with one scale per token and per output channel.

The weights are rounded once, the inputs on the fly; products accumulate in fp32 on the tensor
cores. Attention, norms and the residual stream stay as they are.
"""

import importlib
from typing import NamedTuple

import torch
from torch import nn

from animate.errors import ClipError
from animate.model.transformer import SamplingBlock, SamplingTransformer

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
HOPPER = (8, 9)


class Quantised(NamedTuple):
    """Tokens as fp8 rows (n, m), their factors (n, 1) fp32 and the leading axes they had."""

    rows: torch.Tensor
    scale: torch.Tensor
    lead: tuple[int, ...]


class Fp8Linear(nn.Module):
    """A linear layer on fp8 copies of its weights; with `gelu`, of the GELU of its input."""

    def __init__(self, layer: nn.Linear, gelu: bool = False):
        super().__init__()
        self.compute_dtype, self.gelu = layer.weight.dtype, gelu
        quantised, scale = quantise_rows(layer.weight)
        self.register_buffer("weight", quantised)
        self.register_buffer("scale", scale.T.contiguous())
        self.bias = layer.bias

    def forward(self, x: torch.Tensor | Quantised) -> torch.Tensor:
        """Return the layer's output (..., out) for (..., in), of the layer's type."""
        if torch.is_tensor(x):
            x = quantise(x, self.gelu)
        out = torch._scaled_mm(
            x.rows,
            self.weight.t(),
            scale_a=x.scale,
            scale_b=self.scale,
            bias=self.bias,
            out_dtype=self.compute_dtype,
            use_fast_accum=True,
        )
        return out.view(*x.lead, -1)


def quantise(x: torch.Tensor, gelu: bool = False) -> Quantised:
    """Return tokens (..., m), or their GELU, in fp8."""
    rows = x.reshape(-1, x.shape[-1])
    return Quantised(*torch.ops.animate.quantise_tokens(rows, gelu), x.shape[:-1])


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights (n, m) as fp8 and the factors (n, 1) fp32 that give them back."""
    scale = x.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(FP8), scale


def use_fp8(model: SamplingTransformer) -> None:
    """Replace the linear layers that tokens pass in every step, in place.

    Raises:
        ClipError: the device has no fp8 matrix products.
    """
    device = model.device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        raise ClipError("precision is fp8, but this device has no fp8 arithmetic: set it to bf16")
    importlib.import_module("animate.parallel.kernels")
    for block in model.blocks:
        replace_layers(block)


def replace_layers(block: SamplingBlock) -> None:
    """Replace the step's linear layers of a block by their fp8 copies."""
    inner = block.block
    for attn, names in ((inner.attn1, ("to_q", "to_k", "to_v")), (inner.attn2, ("to_q",))):
        for name in names:
            setattr(attn, name, Fp8Linear(getattr(attn, name)))
        attn.to_out[0] = Fp8Linear(attn.to_out[0])
    # Queries, keys and values have one input: it is rounded once.
    block.ready = quantise
    net = inner.ffn.net
    net[0], net[2] = Fp8Linear(net[0].proj), Fp8Linear(net[2], gelu=True)
    if block.face is not None:
        block.face.to_q = Fp8Linear(block.face.to_q)
        block.face.to_out = Fp8Linear(block.face.to_out)
