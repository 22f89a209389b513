"""Kernels for what the compiler leaves slow: each reads and writes a token's row once.

They need a GPU and Triton, so this module is imported only where they are used.
"""

import torch
import triton
import triton.language as tl

FP8 = torch.float8_e4m3fn
LARGEST = tl.constexpr(torch.finfo(FP8).max)
# Rows of zeros have a scale, too.
SMALLEST = tl.constexpr(1e-12)


@torch.library.custom_op("animate::norm_rotate", mutates_args=())
def norm_rotate(
    x: torch.Tensor, weight: torch.Tensor, eps: float, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Return the RMS norm of `x` (B, L, C) over C, its channel pairs turned: same shape and type.

    `weight` is (C,); `cos` and `sin` are (1, L, 1, D / 2) fp32 with D a power of two.
    """
    batch, length, width = x.shape
    size = 2 * cos.shape[3]
    heads = width // size
    x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    most = triton.next_power_of_2(heads)
    _norm_rotate[(batch * length,)](
        x, weight, cos, sin, out, eps, length, heads, most, size, num_warps=8
    )
    return out


@torch.library.custom_op("animate::quantise_tokens", mutates_args=())
def quantise_tokens(x: torch.Tensor, gelu: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `x` (n, m), or its GELU by tanh, as fp8 and the factors (n, 1) fp32 to undo it."""
    x = x.contiguous()
    out = torch.empty(x.shape, dtype=FP8, device=x.device)
    scale = torch.empty(len(x), 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(x.shape[1])
    warps = min(16, max(4, block // 1024))
    _quantise_tokens[(len(x),)](x, out, scale, x.shape[1], block, gelu, num_warps=warps)
    return out, scale


@torch.library.custom_op("animate::linear_gelu", mutates_args=())
def linear_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the GELU by tanh, made as the product is written, of a linear layer of (..., m)."""
    rows = x.reshape(-1, x.shape[-1])
    out = torch._addmm_activation(bias, rows, weight.t(), use_gelu=True)
    return out.view(*x.shape[:-1], -1)


@norm_rotate.register_fake
def _(x, weight, eps, cos, sin):
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@quantise_tokens.register_fake
def _(x, gelu=False):
    return torch.empty(x.shape, dtype=FP8, device=x.device), x.new_empty(
        x.shape[0], 1, dtype=torch.float32
    )


@linear_gelu.register_fake
def _(x, weight, bias):
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@triton.jit
def _norm_rotate(
    x,
    weight,
    cos,
    sin,
    out,
    eps,
    length,
    heads,
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head, channel = tl.arange(0, HEADS)[:, None], tl.arange(0, SIZE)[None, :]
    place, inside = head * SIZE + channel, head < heads
    start = row * heads * SIZE
    values = tl.load(x + start + place, mask=inside, other=0.0).to(tl.float32)
    square = tl.sum(tl.sum(values * values, 1), 0) / (heads * SIZE)
    factors = tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    values = values * tl.rsqrt(square + eps) * factors
    even, odd = tl.split(tl.reshape(values, (HEADS, SIZE // 2, 2)))
    pair = (row % length) * (SIZE // 2) + tl.arange(0, SIZE // 2)[None, :]
    c, s = tl.load(cos + pair), tl.load(sin + pair)
    turned = tl.join(even * c - odd * s, even * s + odd * c)
    turned = tl.reshape(turned, (HEADS, SIZE)).to(out.dtype.element_ty)
    tl.store(out + start + place, turned, mask=inside)


@triton.jit
def _quantise_tokens(x, out, scale, width, BLOCK: tl.constexpr, GELU: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    inside = place < width
    values = tl.load(x + row * width + place, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        # x / 2 (1 + tanh u) is x sigmoid(2 u).
        inner = 1.5957691216057308 * (values + 0.044715 * values * values * values)
        values = values * tl.sigmoid(inner)
    largest = tl.max(tl.abs(values), 0)
    factor = tl.maximum(largest, SMALLEST) / LARGEST
    values = tl.minimum(tl.maximum(values / factor, -LARGEST), LARGEST)
    tl.store(out + row * width + place, values.to(tl.float8e4nv), mask=inside)
    tl.store(scale + row, factor)
