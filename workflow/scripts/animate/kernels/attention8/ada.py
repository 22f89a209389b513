"""8-bit attention for Ada, by Triton; Hopper runs it, too, slower than its own kernel.

It needs a GPU and Triton, so this module is imported only where it is used. Each (batch, head) is a
line.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from animate.kernels.attention8.attention import HEAD_SIZE, readable, round_up
from animate.model.attention import Partial

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
# Keys of a tile, which share a scale, and queries of a block.
KEYS, QUERIES = 64, 128
# Rows of zeros have a scale, too.
SMALLEST = tl.constexpr(1e-12)
# The most that a probability gets, as a logarithm to base 2: that of the largest e4m3.
TOP = tl.constexpr(8.807)
LN_2 = tl.constexpr(0.6931471805599453)


class Keys(NamedTuple):
    """Rounded keys and values of `count` tokens, and what they were rounded by.

    int8 (lines, padded, 128) and e4m3 (lines, 128, padded); `scales` of KEYS keys each; the keys'
    and values' means and the values' scales, (lines, 128) fp32.
    """

    keys: torch.Tensor
    values: torch.Tensor
    scales: torch.Tensor
    key_mean: torch.Tensor
    value_mean: torch.Tensor
    value_scale: torch.Tensor
    count: int


class AdaKernel:
    """The `Kernel` by Triton."""

    def round_keys(self, k: torch.Tensor, v: torch.Tensor) -> Keys:
        """Return keys and values (B, N, H, 128) bf16, rounded."""
        k, v = readable(k), readable(v)
        batch, count, heads, size = k.shape
        lines, padded = batch * heads, round_up(count, KEYS)
        key_mean, mean = (x.mean(1, dtype=torch.float32).view(lines, size) for x in (k, v))
        low, high = (x.float().view(lines, size) for x in v.aminmax(dim=1))
        scale = torch.maximum(high - mean, mean - low).clamp(min=SMALLEST.value) / LARGEST
        keys = torch.empty(lines, padded, size, dtype=torch.int8, device=k.device)
        values = torch.empty(lines, size, padded, dtype=FP8, device=k.device)
        scales = key_mean.new_empty(lines, padded // KEYS)
        grid = padded // KEYS, lines
        lengths = count, padded, heads
        _round_keys[grid](k, key_mean, keys, scales, *lengths, *k.stride()[:3], KEYS, size)
        _round_values[grid](v, mean, scale, values, *lengths, *v.stride()[:3], KEYS, size)
        return Keys(keys, values, scales, key_mean, mean, scale, count)

    def attend(self, q: torch.Tensor, keys: Keys) -> Partial:
        """Return attention of `q` (B, L, H, 128) bf16 over rounded keys, and its sums (B, L, H)."""
        q = readable(q)
        batch, count, heads, size = q.shape
        lines, padded = batch * heads, round_up(count, QUERIES)
        rounded = torch.empty(lines, padded, size, dtype=torch.int8, device=q.device)
        scales, shift = (keys.scales.new_empty(lines, padded) for _ in range(2))
        own = rounded, scales, shift, count, padded, heads, *q.stride()[:3]
        grid = padded // QUERIES, lines
        _round_queries[grid](q, keys.key_mean, *own, HEAD_SIZE**-0.5, QUERIES, size)
        out, sums = torch.empty_like(q), scales.new_empty(batch, heads, count)
        lengths = count, keys.count, padded, keys.keys.shape[1], heads, *out.stride()[:3]
        given = rounded, scales, shift, *keys[:3], keys.value_mean, keys.value_scale
        _attend[grid](*given, out, sums, *lengths, QUERIES, KEYS, size, num_warps=8, num_stages=3)
        return out, sums.transpose(1, 2)


@triton.jit
def _tokens(
    x, line, heads, first, batch_by, token_by, head_by, ROWS: tl.constexpr, SIZE: tl.constexpr
):
    """Pointers of tokens of a line, (ROWS, SIZE), and their numbers."""
    token = first + tl.arange(0, ROWS)
    start = x + (line // heads) * batch_by + (line % heads) * head_by
    at = start + token[:, None].to(tl.int64) * token_by + tl.arange(0, SIZE)[None, :]
    return at, token


@triton.jit
def _round_queries(
    q,
    key_mean,
    rounded,
    scales,
    shift,
    count,
    padded,
    heads,
    batch_by,
    token_by,
    head_by,
    factor,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
):
    line = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * ROWS
    at, token = _tokens(q, line, heads, first, batch_by, token_by, head_by, ROWS, SIZE)
    channel = tl.arange(0, SIZE)
    values = tl.load(at, mask=(token < count)[:, None], other=0.0).to(tl.float32)
    mean = tl.load(key_mean + line * SIZE + channel)
    largest = tl.maximum(tl.max(tl.abs(values), 1), SMALLEST)
    rows = tl.floor(values * (127.0 / largest)[:, None] + 0.5).to(tl.int8)
    place = line * padded + token
    tl.store(rounded + place[:, None] * SIZE + channel[None, :], rows)
    shifted = tl.sum(values * mean[None, :], 1) * factor
    # To base 2. What is no number in a query or in any key has no int8, and so shows in the scale.
    tl.store(scales + place, largest / 127.0 * (factor / LN_2) + (shifted - shifted))
    tl.store(shift + place, shifted)


@triton.jit
def _round_keys(
    k,
    key_mean,
    rounded,
    scales,
    count,
    padded,
    heads,
    batch_by,
    token_by,
    head_by,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
):
    line, tile = tl.program_id(1).to(tl.int64), tl.program_id(0)
    at, token = _tokens(k, line, heads, tile * ROWS, batch_by, token_by, head_by, ROWS, SIZE)
    channel, real = tl.arange(0, SIZE), (token < count)[:, None]
    mean = tl.load(key_mean + line * SIZE + channel)[None, :]
    values = tl.load(at, mask=real, other=0.0).to(tl.float32)
    values = tl.where(real, values - mean, 0.0)
    largest = tl.maximum(tl.max(tl.max(tl.abs(values), 1), 0), SMALLEST)
    values = tl.floor(values * (127.0 / largest) + 0.5).to(tl.int8)
    tl.store(rounded + (line * padded + token[:, None]) * SIZE + channel[None, :], values)
    tl.store(scales + line * (padded // ROWS) + tile, largest / 127.0)


@triton.jit
def _round_values(
    v,
    mean,
    scale,
    rounded,
    count,
    padded,
    heads,
    batch_by,
    token_by,
    head_by,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
):
    line = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * ROWS
    at, token = _tokens(v, line, heads, first, batch_by, token_by, head_by, ROWS, SIZE)
    channel, real = tl.arange(0, SIZE), (token < count)[:, None]
    values = tl.load(at, mask=real, other=0.0).to(tl.float32)
    values = values - tl.load(mean + line * SIZE + channel)[None, :]
    values = values / tl.load(scale + line * SIZE + channel)[None, :]
    values = tl.trans(tl.where(real, values, 0.0)).to(tl.float8e4nv)
    tl.store(rounded + (line * SIZE + channel[:, None]) * padded + token[None, :], values)


@triton.jit
def _tile(
    q,
    q_scale,
    k8,
    v8,
    k_scales,
    line,
    tile,
    keys,
    padded,
    acc,
    total,
    largest,
    RAGGED: tl.constexpr,
    KEYS: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Add a tile's keys to what is summed; with RAGGED only those that are real."""
    key, channel = tile * KEYS + tl.arange(0, KEYS), tl.arange(0, SIZE)
    k = tl.load(k8 + (line * padded + key[:, None]) * SIZE + channel[None, :])
    scale = q_scale * tl.load(k_scales + line * (padded // KEYS) + tile)
    scores = tl.dot(q, tl.trans(k), out_dtype=tl.int32).to(tl.float32) * scale[:, None]
    if RAGGED:
        scores = tl.where(key[None, :] < keys, scores, -float("inf"))
    raised = tl.maximum(largest, tl.max(scores, 1))
    weights = tl.exp2(scores - (raised - TOP)[:, None])
    lower = tl.exp2(largest - raised)
    total = total * lower + tl.sum(weights, 1)
    # Keys follow each other in memory, as the tensor cores take them.
    v = tl.load(v8 + (line * SIZE + channel[:, None]) * padded + key[None, :])
    found = tl.dot(weights.to(tl.float8e4nv), tl.trans(v))
    return acc * lower[:, None] + found, total, raised


@triton.jit
def _attend(
    q8,
    q_scales,
    shift,
    k8,
    v8,
    k_scales,
    mean,
    scale,
    out,
    sums,
    queries,
    keys,
    padded_q,
    padded_k,
    heads,
    batch_by,
    token_by,
    head_by,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    SIZE: tl.constexpr,
):
    line = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * QUERIES
    at, token = _tokens(out, line, heads, first, batch_by, token_by, head_by, QUERIES, SIZE)
    channel, place = tl.arange(0, SIZE), line * padded_q + token
    q = tl.load(q8 + place[:, None] * SIZE + channel[None, :])
    q_scale = tl.load(q_scales + place)
    acc = tl.zeros([QUERIES, SIZE], tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    largest = tl.zeros([QUERIES], tl.float32) - float("inf")
    whole = keys // KEYS
    for tile in range(0, whole):
        acc, total, largest = _tile(
            q,
            q_scale,
            k8,
            v8,
            k_scales,
            line,
            tile,
            keys,
            padded_k,
            acc,
            total,
            largest,
            False,
            KEYS,
            SIZE,
        )
    if whole * KEYS < keys:
        acc, total, largest = _tile(
            q,
            q_scale,
            k8,
            v8,
            k_scales,
            line,
            whole,
            keys,
            padded_k,
            acc,
            total,
            largest,
            True,
            KEYS,
            SIZE,
        )
    scales = tl.load(scale + line * SIZE + channel)[None, :]
    means = tl.load(mean + line * SIZE + channel)[None, :]
    found = acc / total[:, None] * scales + means
    tl.store(at, found.to(out.dtype.element_ty), mask=(token < queries)[:, None])
    log_sum = (largest - TOP + tl.log2(total)) * LN_2 + tl.load(shift + place)
    tl.store(sums + line * queries + token, log_sum, mask=token < queries)
