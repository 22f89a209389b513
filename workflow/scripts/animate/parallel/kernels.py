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
LOG2_E = 1.4426950408889634
# Tokens of a program of `attend_conditions`, keys of a step, and steps whose keys are under way.
ROWS, KEYS, STAGES = 64, 64, 1


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


@torch.library.custom_op("animate::attend_conditions", mutates_args=())
def attend_conditions(
    q: torch.Tensor,
    factors: torch.Tensor,
    weight: torch.Tensor,
    text_k: torch.Tensor,
    text_v: torch.Tensor,
    padding: int,
    image_k: torch.Tensor,
    image_v: torch.Tensor,
) -> torch.Tensor:
    """Return attention of `q` (B, L, C), by `factors` (B, L) and `weight` (C,), to text and image.

    Keys and values are (B, 64 n + 1, H, D) with D a power of two; text's last stands for `padding`.
    """
    if text_k.shape[1] % KEYS != 1 or image_k.shape[1] % KEYS != 1:
        raise ValueError(f"{text_k.shape[1]} and {image_k.shape[1]} keys, not {KEYS} n + 1")
    batch, length, width = q.shape
    heads, size = text_k.shape[2:]
    q, out = q.contiguous(), torch.empty(q.shape, dtype=q.dtype, device=q.device)
    _attend_conditions[(heads, triton.cdiv(length, ROWS), batch)](
        q,
        factors.contiguous(),
        weight,
        text_k.contiguous(),
        text_v.contiguous(),
        text_k.shape[1] - 1,
        padding,
        image_k.contiguous(),
        image_v.contiguous(),
        image_k.shape[1] - 1,
        out,
        LOG2_E / size**0.5,
        length,
        width,
        ROWS,
        KEYS,
        size,
        num_warps=ROWS // 16,
        num_stages=STAGES,
    )
    return out


@norm_rotate.register_fake
def _(x, weight, eps, cos, sin):
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@quantise_tokens.register_fake
def _(x, gelu=False):
    return torch.empty(x.shape, dtype=FP8, device=x.device), x.new_empty(
        x.shape[0], 1, dtype=torch.float32
    )


@attend_conditions.register_fake
def _(q, factors, weight, text_k, text_v, padding, image_k, image_v):
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


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


@triton.jit
def _attend_conditions(
    q,
    factors,
    weight,
    text_k,
    text_v,
    text_keys,
    padding,
    image_k,
    image_v,
    image_keys,
    out,
    scale,
    length,
    width,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    SIZE: tl.constexpr,
):
    head, batch = tl.program_id(0), tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    channel = head * SIZE + tl.arange(0, SIZE)
    inside = (row < length)[:, None]
    row = batch * length + row
    place = row[:, None] * width + channel[None, :]
    queries = tl.load(q + place, mask=inside, other=0.0).to(tl.float32)
    normed = tl.load(factors + row, mask=row < (batch + 1) * length, other=0.0)
    queries = queries * normed[:, None] * tl.load(weight + channel).to(tl.float32)[None, :]
    queries = queries.to(q.dtype.element_ty)
    start = batch * (text_keys + 1) * width + channel
    text = _attend(queries, text_k + start, text_v + start, text_keys, padding, scale, width, KEYS)
    text = text.to(q.dtype.element_ty)
    start = batch * (image_keys + 1) * width + channel
    image = _attend(queries, image_k + start, image_v + start, image_keys, 1, scale, width, KEYS)
    tl.store(out + place, (text + image).to(q.dtype.element_ty), mask=inside)


@triton.jit
def _attend(q, k, v, keys, times, scale, width, KEYS: tl.constexpr):
    """Return softmax attention over `keys` keys and `times` times the one after them."""
    last = tl.load(k + keys * width).to(tl.float32)
    # A key that counts no time must not set the scale of those that do.
    score = tl.sum(q.to(tl.float32) * last[None, :], 1) * scale
    largest = tl.where(times > 0, score, float("-inf"))
    total = tl.zeros_like(largest) + times
    found = tl.zeros_like(q).to(tl.float32)
    found += times * tl.load(v + keys * width).to(tl.float32)[None, :]
    for start in range(0, keys, KEYS):
        place = (start + tl.arange(0, KEYS))[:, None] * width
        scores = tl.dot(q, tl.trans(tl.load(k[None, :] + place)), input_precision="ieee") * scale
        before = largest
        largest = tl.maximum(before, tl.max(scores, 1))
        shares, kept = tl.exp2(scores - largest[:, None]), tl.exp2(before - largest)
        total = total * kept + tl.sum(shares, 1)
        values = tl.load(v[None, :] + place)
        found = found * kept[:, None]
        found = tl.dot(shares.to(q.dtype), values, found, input_precision="ieee")
    return found / total[:, None]
