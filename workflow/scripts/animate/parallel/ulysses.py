"""Ulysses sequence parallelism (arXiv:2309.14509): tokens between layers, heads in attention.

Every rank holds an equal run of consecutive tokens. Before self-attention an all-to-all gives each
rank all tokens of its share of the heads; another one after it gives the tokens back. The
sequence is padded to equal shares, and the padding never takes part in attention, so the
result is that of one process for any token count.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from animate.errors import ClipError
from animate.model.sequence import Attention, attention

# Matrix products of fewer rows take another way and round differently.
LEAST_SHARE = 8
# More parts hide more of the exchange, but make it and the attention less efficient.
PARTS = 2

Travelling = tuple[dist.Work, torch.Tensor]


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
        self._share = max(-(-length // self._ranks), LEAST_SHARE)

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

        Queries, keys and values travel in one all-to-all per part of the heads: while a rank
        attends to one part, the next arrives and the one before leaves.
        """
        sent = [self._send(part) for part in self._parts((q, k, v))]
        # Taken off the list, so that a part's memory is free as soon as it was attended to.
        left = [self._return(*sent.pop(0)) for _ in range(len(sent))]
        result = q.new_empty(q.shape)
        for (part,), (work, received) in zip(self._parts((result,)), left, strict=True):
            work.wait()
            _wide(part).copy_(_wide(received).permute(1, 2, 0, 3, 4))
        return result

    def _parts(self, tensors: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
        """Return views (B, L, ranks, heads, D) of each part of every rank's heads."""
        split = [x.unflatten(2, (self._ranks, -1)) for x in tensors]
        parts = min(PARTS, split[0].shape[3])
        return list(zip(*(x.tensor_split(parts, 3) for x in split), strict=True))

    def _send(self, part: tuple[torch.Tensor, ...]) -> Travelling:
        """Start giving each rank its heads of this rank's tokens: (n, B, L, 3, heads, D)."""
        batch, length, n, heads, size = part[0].shape
        packed = part[0].new_empty(n, batch, length, len(part), heads, size)
        for index, x in enumerate(part):
            _wide(packed)[:, :, :, index] = _wide(x).permute(2, 0, 1, 3, 4)
        return self._exchange(packed)

    def _return(self, work: dist.Work, received: torch.Tensor) -> Travelling:
        """Attend to what arrived and start giving each rank its tokens: (n, B, L, heads, D)."""
        work.wait()
        arrived = received.transpose(0, 1).flatten(1, 2)[:, : self._length]
        out = self._attend(*arrived.unbind(2))
        padding = self._ranks * self._share - self._length
        if padding:
            out = F.pad(out, (0, 0, 0, 0, 0, padding))
        return self._exchange(out.unflatten(1, (self._ranks, -1)).transpose(0, 1).contiguous())

    def _exchange(self, x: torch.Tensor) -> Travelling:
        """Start to get what every rank has for this one (n, ...) of what this one has for each."""
        received = torch.empty_like(x)
        work = dist.all_to_all_single(received, x, group=self._group, async_op=True)
        return work, received


def _wide(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as numbers of eight bytes: rearranged, they move faster than those of two."""
    return x.view(torch.int64)


def check_degree(ranks: int, heads: int) -> None:
    """Raise a `ClipError` that names the allowed counts when the ranks do not divide the heads."""
    if heads % ranks:
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise ClipError(f"gpus is {ranks}, but {heads} attention heads can be shared by {allowed}")
