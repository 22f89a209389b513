"""Ulysses sequence parallelism (arXiv:2309.14509): tokens between layers, heads in attention.

Every rank holds an equal run of consecutive tokens. Before self-attention an all-to-all gives each
rank all tokens of its share of the heads; another one after it gives the tokens back. The
sequence is padded to a multiple of the ranks, and the padding never takes part in attention, so the
result is that of one process for any token count.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from animate.errors import ClipError
from animate.model.sequence import Attention, attention


class UlyssesSequence:
    """The division of the tokens among the ranks of a group; see `animate.model.sequence`."""

    def __init__(
        self,
        length: int,
        heads: int,
        attend: Attention = attention,
        group: dist.ProcessGroup | None = None,
    ):
        """`length` counts all tokens, `heads` the heads; None means the default group.

        Raises:
            ClipError: the ranks do not divide the heads.
        """
        self._group, self._attend = group, attend
        self._ranks, self._rank = dist.get_world_size(group), dist.get_rank(group)
        check_degree(self._ranks, heads)
        self._length = length
        self._share = -(-length // self._ranks)

    def shard(self, x: torch.Tensor) -> torch.Tensor:
        """Return this rank's tokens (B, L, ...), zeros after the last, of all (B, N, ...)."""
        start = self._rank * self._share
        own = x[:, start : start + self._share]
        missing = self._share - own.shape[1]
        return F.pad(own, (0, 0) * (x.ndim - 2) + (0, missing)) if missing else own

    def gather(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """Return all tokens (B, N, ...) of every rank's (B, L, ...)."""
        parts = [torch.empty_like(x) for _ in range(self._ranks)]
        dist.all_gather(parts, x.contiguous(), self._group)
        return torch.cat(parts, dim=1)[:, :length]

    def first_token(self, length: int) -> int:
        """Return the position of this rank's first token."""
        return self._rank * self._share

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return self-attention over all tokens for this rank's (B, L, H, D).

        Queries, keys and values travel in one all-to-all.
        """
        n, batch = self._ranks, q.shape[0]
        packed = torch.stack((q, k, v), dim=2).unflatten(3, (n, -1))
        # (B, L, 3, n, H / n, D) to (n, B, L, 3, H / n, D): what each rank gets lies together.
        packed = self._exchange(packed.permute(3, 0, 1, 2, 4, 5))
        packed = packed.transpose(0, 1).flatten(1, 2)[:, : self._length]
        out = self._attend(*packed.unbind(2))
        out = F.pad(out, (0, 0, 0, 0, 0, n * self._share - self._length))
        out = self._exchange(out.unflatten(1, (n, -1)).transpose(0, 1))
        return out.permute(1, 2, 0, 3, 4).reshape(batch, self._share, *q.shape[2:])

    def _exchange(self, x: torch.Tensor) -> torch.Tensor:
        """Return what every rank has for this one (n, ...) of what this one has for each."""
        x = x.contiguous()
        received = torch.empty_like(x)
        dist.all_to_all_single(received, x, group=self._group)
        return received


def check_degree(ranks: int, heads: int) -> None:
    """Raise a `ClipError` that names the allowed counts when the ranks do not divide the heads."""
    if heads % ranks:
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise ClipError(f"gpus is {ranks}, but {heads} attention heads can be shared by {allowed}")
