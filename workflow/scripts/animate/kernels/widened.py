"""fp8 weights for GPUs without fp8 products: multiplied back where they are used.

The tokens stay as they are; a layer's weights are whole in the model's type only while its product
is computed. So such a GPU saves the memory and the transfers, but no time.
"""

import torch
import torch.nn.functional as F
from torch import nn

from animate.weights.rounding import quantise_rows

# Rows that are multiplied back at a time, on the way in fp32.
ROWS = 2048


class WidenedLinear(nn.Module):
    """A linear layer whose weights are fp8 rows, kept as bytes.

    On the meta device it only has the shapes: weight (out, in) uint8, scale (out, 1) fp32.
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.compute_dtype = layer.weight.dtype
        rows, scale = quantise_rows(layer.weight)
        # As bytes, because Triton has no pointer to e4m3 where there are no products of it.
        self.weight = nn.Parameter(rows.view(torch.uint8), requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = layer.bias

    def widened(self) -> torch.Tensor:
        """Return the weights (out, in) in the layer's type."""
        if torch.compiler.is_compiling():
            # Which makes one kernel of it, that holds no numbers in fp32.
            return (numbers_of(self.weight) * self.scale).to(self.compute_dtype)
        made = torch.empty_like(self.weight, dtype=self.compute_dtype)
        parts = (x.split(ROWS) for x in (made, self.weight, self.scale))
        for part, rows, scale in zip(*parts, strict=True):
            part.copy_(numbers_of(rows) * scale)
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output (..., out) for (..., in), of the layer's type."""
        return F.linear(x, self.widened(), self.bias)


def numbers_of(rows: torch.Tensor) -> torch.Tensor:
    """Return in fp32 what the bytes of finite e4m3 numbers stand for.

    By integers: their exponent and fraction are those of fp16 numbers 256 times smaller, also below
    the normal ones.
    """
    bits = rows.to(torch.int16)
    halves = ((bits & 0x80) << 8) | ((bits & 0x7F) << 7)
    return halves.view(torch.float16).float() * 256
