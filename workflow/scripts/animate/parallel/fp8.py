"""fp8 linear layers: e4m3 with one scale per token and per output channel.

The weights are rounded once, the inputs on the fly; products accumulate in fp32 on the tensor
cores. Attention, norms and the residual stream stay as they are.
"""

import torch
from torch import nn

from animate.errors import ClipError
from animate.model.transformer import SamplingTransformer

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
HOPPER = (8, 9)


class Fp8Linear(nn.Module):
    """A linear layer on fp8 copies of its weights."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        # The type of inputs and outputs is read off `weight`, as of a plain layer.
        self.compute_dtype = layer.weight.dtype
        quantised, scale = quantise_rows(layer.weight)
        self.register_buffer("weight", quantised)
        self.register_buffer("scale", scale.T.contiguous())
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output (..., out) for `x` (..., in), of x's type."""
        rows = x.reshape(-1, x.shape[-1])
        quantised, scale = quantise_rows(rows)
        out = torch._scaled_mm(
            quantised,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.scale,
            bias=self.bias,
            out_dtype=self.compute_dtype,
            use_fast_accum=True,
        )
        return out.view(*x.shape[:-1], -1)


def quantise_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x` (n, m) as fp8 and the factors (n, 1) fp32 that give it back."""
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
    for block in model.blocks:
        replace_layers(block)


def replace_layers(block: nn.Module) -> None:
    """Replace the step's linear layers of one `SamplingBlock` by their fp8 copies."""
    inner = block.block
    for attn, names in ((inner.attn1, ("to_q", "to_k", "to_v")), (inner.attn2, ("to_q",))):
        for name in names:
            setattr(attn, name, Fp8Linear(getattr(attn, name)))
        attn.to_out[0] = Fp8Linear(attn.to_out[0])
    up = inner.ffn.net[0]
    up.proj, inner.ffn.net[2] = Fp8Linear(up.proj), Fp8Linear(inner.ffn.net[2])
