"""fp8 linear layers: e4m3 with one scale per token and per output channel.

The weights are rounded as they are read, the inputs on the fly; products accumulate in fp32 on the
tensor cores. Attention, norms and the residual stream stay as they are.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from animate.errors import ClipError
from animate.kernels.widened import WidenedLinear
from animate.model.ops import feed_forward_layers
from animate.weights.kinds import model_kind
from animate.weights.rounding import quantise_rows, rounded_layers

# The compute capability of the first GPUs that multiply fp8.
ADA = (8, 9)


class Quantised(NamedTuple):
    """Tokens as fp8 rows (n, m), their factors (n, 1) fp32 and the leading axes they had."""

    rows: torch.Tensor
    scale: torch.Tensor
    lead: tuple[int, ...]


class Fp8Linear(nn.Module):
    """A linear layer whose weights are fp8 rows; with `gelu`, of the GELU of its input.

    On the meta device it only has the shapes: weight (out, in) fp8, scale (out, 1) fp32.
    """

    def __init__(self, layer: nn.Linear, gelu: bool, fused: bool):
        super().__init__()
        self.compute_dtype, self.gelu, self.fused = layer.weight.dtype, gelu, fused
        rows, scale = quantise_rows(layer.weight)
        self.weight = nn.Parameter(rows, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: torch.Tensor | Quantised) -> torch.Tensor:
        """Return the layer's output (..., out) for (..., in), of the layer's type."""
        if torch.is_tensor(x):
            x = quantise(x, self.gelu, self.fused)
        multiply = torch._scaled_mm if x.rows.is_cuda else plain_scaled_mm
        out = multiply(
            x.rows,
            self.weight.t(),
            scale_a=x.scale,
            scale_b=self.scale.t(),
            bias=self.bias,
            out_dtype=self.compute_dtype,
            use_fast_accum=True,
        )
        return out.view(*x.lead, -1)


def quantise(x: torch.Tensor, gelu: bool = False, fused: bool = True) -> Quantised:
    """Return tokens (..., m), or their GELU, in fp8; `fused` by our kernel, which takes a GPU."""
    rows = x.reshape(-1, x.shape[-1])
    if fused:
        return Quantised(*torch.ops.animate.quantise_tokens(rows, gelu), x.shape[:-1])
    return Quantised(
        *quantise_rows(F.gelu(rows, approximate="tanh") if gelu else rows), x.shape[:-1]
    )


def plain_scaled_mm(a, b, scale_a, scale_b, bias, out_dtype, use_fast_accum) -> torch.Tensor:
    """Return what `torch._scaled_mm` does, in fp32: for the tests, on CPUs."""
    product = (a.float() * scale_a) @ (b.float() * scale_b)
    return (product if bias is None else product + bias.float()).to(out_dtype)


def multiplies_fp8(device: torch.device) -> bool:
    """Return whether a GPU has fp8 products; weights are widened on one that has not.

    Raises:
        ClipError: the device is no NVIDIA GPU.
    """
    # ROCm's GPUs have another fp8.
    if device.type != "cuda" or torch.version.hip is not None:
        raise ClipError(
            "precision is fp8, but this device is no NVIDIA GPU, which alone has this fp8: set"
            " precision to bf16"
        )
    return torch.cuda.get_device_capability(device) >= ADA


def convert_to_fp8(weights: nn.Module, fused: bool, widened: bool = False) -> None:
    """Make the linear layers that tokens pass in every step fp8 ones, in place.

    `weights` is diffusers' model. Layers on the meta device stay there, to be filled; others are
    rounded now. `fused` rounds tokens by our kernel. With `widened`, tokens stay as they are; see
    `kernels.widened`. The blocks then need the operations of fp8, see `choose_ops`.
    """
    last = model_kind(weights).rounded[-1]
    for name in list(rounded_layers(weights)):
        layer = weights.get_submodule(name)
        if widened:
            rounded = WidenedLinear(layer)
        else:
            # The second layer of a feed-forward rounds the GELU of what it gets.
            rounded = Fp8Linear(layer, gelu=name.endswith(last), fused=fused)
        weights.set_submodule(name, rounded)


def feed_forward(layers: nn.Module, h: torch.Tensor) -> torch.Tensor:
    """Return what diffusers' feed-forward, converted, makes of `h`: the GELU is the second's."""
    up, down = feed_forward_layers(layers)
    return down(up(h))
