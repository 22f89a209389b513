"""How the tokens of a video are spread over processes, and how they attend to each other.

Shapes: B batch, L local tokens, N all tokens, H heads, D head size.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return softmax attention of `q` (B, L, H, D) over `k` and `v` (B, N, H, D): (B, L, H, D)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def attention_with_repeats(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, times: int
) -> torch.Tensor:
    """Return `attention` where the last key and value stand for `times` equal ones, 0 or more."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    bias = q.new_zeros(1, k.shape[2])
    bias[:, -1] = math.log(times) if times else -math.inf
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)


class Sequence(Protocol):
    """A division of the tokens among processes; every process calls the same methods in order."""

    def shard(self, x: torch.Tensor) -> torch.Tensor:
        """Return this process's tokens (B, L, ...) of all tokens (B, N, ...)."""

    def gather(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """Return all `length` tokens (B, N, ...) from each process's own (B, L, ...)."""

    def first_token(self, length: int) -> int:
        """Return the position among `length` tokens of this process's first one."""

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, length: int
    ) -> torch.Tensor:
        """Return self-attention over all `length` tokens for this process's (B, L, H, D)."""


class WholeSequence:
    """All tokens in one process."""

    def __init__(self, attend: Attention = attention):
        self._attend = attend

    def shard(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`."""
        return x

    def gather(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """Return `x`."""
        return x

    def first_token(self, length: int) -> int:
        """Return 0."""
        return 0

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, length: int
    ) -> torch.Tensor:
        """Return attention of the tokens."""
        return self._attend(q, k, v)


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
    first_frame, lead = divmod(first_token, frame_tokens)
    length = q.shape[1]
    frames = -(-(lead + length) // frame_tokens)
    q = F.pad(q, (0, 0, 0, 0, lead, frames * frame_tokens - lead - length))
    q = q.unflatten(1, (frames, frame_tokens)).flatten(0, 1)
    rows = torch.arange(first_frame, first_frame + frames, device=k.device)
    rows = rows.clamp(max=k.shape[1] - 1)
    out = attention(q, k[:, rows].flatten(0, 1), v[:, rows].flatten(0, 1))
    return out.unflatten(0, (-1, frames)).flatten(1, 2)[:, lead : lead + length]
