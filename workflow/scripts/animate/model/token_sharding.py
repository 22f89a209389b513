"""How the tokens of a video are divided among processes, and how they attend to each other.

Shapes: B batch, L local tokens, N all tokens, H heads, D head size.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from animate.model.attention import (
    Attention,
    HeadsAttention,
    QueriesAttention,
    attention,
    attention_over,
)

AttendOver = Callable[[torch.Tensor, torch.Tensor], QueriesAttention]


class TokenSharding(Protocol):
    """A division of the tokens among processes; every process calls the same methods in order.

    `attend_over`: attention of any of the queries over given keys and values (B, N, H, D) of all
    tokens, which are prepared once; None where queries travel with their keys.
    """

    attend_over: AttendOver | None

    def shard(self, x: torch.Tensor) -> torch.Tensor:
        """Return this process's tokens (B, L, ...) of all tokens (B, N, ...)."""

    def gather(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """Return all `length` tokens (B, N, ...) from each process's own (B, L, ...)."""

    def first_token(self, length: int) -> int:
        """Return the position among `length` tokens of this process's first one."""

    def attend_by(self, attend: Attention) -> None:
        """Have `attend` compute self-attention from now on."""

    def own_heads(self, heads: int) -> int:
        """Return how many of all heads this process attends with."""

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        length: int,
        way: HeadsAttention | None = None,
    ) -> torch.Tensor:
        """Return self-attention over all `length` tokens for this process's (B, L, H, D).

        `way` computes it, of all tokens and some of this process's heads at a time; by default the
        division's own kernel does.
        """


class NoSharding:
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

    def attend_by(self, attend: Attention) -> None:
        """Have `attend` compute self-attention from now on."""
        self._attend = attend

    def own_heads(self, heads: int) -> int:
        """Return `heads`."""
        return heads

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        length: int,
        way: HeadsAttention | None = None,
    ) -> torch.Tensor:
        """Return attention of the tokens."""
        return way(q, k, v, slice(0, q.shape[2])) if way else self._attend(q, k, v)

    def attend_over(self, k: torch.Tensor, v: torch.Tensor) -> QueriesAttention:
        """Return attention of any of the queries over `k` and `v`."""
        return attention_over(self._attend, k, v)
