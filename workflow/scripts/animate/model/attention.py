"""Attention by PyTorch's own arithmetic, over all tokens or within frames.

Shapes: B batch, L local tokens, N all tokens, H heads, D head size.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# Of some of a process's heads, which the slice numbers; their queries, keys and values come first.
HeadsAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, slice], torch.Tensor]
# What some of the keys give, (B, L, H, D), and the logarithm of their weights' sum, (B, L, H) fp32.
Partial = tuple[torch.Tensor, torch.Tensor]
PartialAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Partial]
# Of any queries over keys and values that it knows.
QueriesAttention = Callable[[torch.Tensor], torch.Tensor]


@runtime_checkable
class PreparesKeys(Protocol):
    """An `Attention` that makes something of keys and values before it attends to them."""

    def over(self, k: torch.Tensor, v: torch.Tensor) -> QueriesAttention:
        """Return attention over these keys and values, for which that is made once, now."""


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return softmax attention of `q` (B, L, H, D) over `k` and `v` (B, N, H, D): (B, L, H, D)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def attention_over(attend: Attention, k: torch.Tensor, v: torch.Tensor) -> QueriesAttention:
    """Return `attend` of any queries over `k` and `v`; what it makes of those is made once."""
    if isinstance(attend, PreparesKeys):
        return attend.over(k, v)
    return lambda q: attend(q, k, v)


def partial_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Partial:
    """Return `attention`, and the logarithm of its weights' sum, by which it joins others."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    # The public function keeps the sums to itself.
    if q.device.type == "cpu":
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    else:
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        out, log_sum, *_ = efficient(q, k, v, None, True)
    # Some kernels make their sums' rows longer.
    return out.transpose(1, 2), log_sum[:, :, : q.shape[2]].transpose(1, 2)


def attention_with_repeats(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, times: int
) -> torch.Tensor:
    """Return `attention` where the last key and value stand for `times` equal ones, 0 or more."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    bias = q.new_zeros(1, k.shape[2])
    bias[:, -1] = math.log(times) if times else -math.inf
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)


def attend_within_frames(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, first_token: int, frame_tokens: int
) -> torch.Tensor:
    """Return attention in which a token sees the keys of its own latent frame only.

    Args:
        q: (B, L, H, D), consecutive tokens, the first of them at position `first_token`.
        k, v: (B, T, n, H, D), n keys for each of T latent frames.
        frame_tokens: tokens of one latent frame.

    Tokens after the last frame (padding of a shard) see the last frame's keys.
    """
    # No divmod: the compiler knows none of numbers that change.
    first_frame, lead = first_token // frame_tokens, first_token % frame_tokens
    length = q.shape[1]
    frames = -(-(lead + length) // frame_tokens)
    q = F.pad(q, (0, 0, 0, 0, lead, frames * frame_tokens - lead - length))
    q = q.unflatten(1, (frames, frame_tokens)).flatten(0, 1)
    rows = torch.arange(first_frame, first_frame + frames, device=k.device)
    rows = rows.clamp(max=k.shape[1] - 1)
    out = attention(q, k[:, rows].flatten(0, 1), v[:, rows].flatten(0, 1))
    return out.unflatten(0, (-1, frames)).flatten(1, 2)[:, lead : lead + length]
