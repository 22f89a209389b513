"""Ulysses sequence parallelism (arXiv:2309.14509): tokens between layers, heads in attention.

Every rank holds an equal run of consecutive tokens. Before self-attention an all-to-all gives each
rank all tokens of its share of the heads; another one after it gives the tokens back. The
sequence is padded to equal shares, and the padding never takes part in attention, so the
result is that of one process for any token count.
"""

from itertools import accumulate, pairwise

import torch
import torch.distributed as dist
import torch.nn.functional as F

from animate.errors import ClipError
from animate.model.attention import Attention, HeadsAttention, attention

# Matrix products of fewer rows take another way and round differently.
LEAST_SHARE = 8
# The parts of a rank's heads, as shares: while one is attended to, the next arrives and the one
# before leaves. More parts hide more of that, but attention to few heads is less efficient.
SHARES = (0.5, 0.5)


class UlyssesSharding:
    """The division of the tokens among the ranks of a group; see `TokenSharding`."""

    # Queries travel with their keys and values.
    attend_over = None

    def __init__(
        self,
        heads: int,
        attend: Attention = attention,
        group: dist.ProcessGroup | None = None,
    ):
        """`heads` counts all heads; None means the default group.

        Raises:
            ClipError: the ranks do not divide the heads.
        """
        self._group, self._attend = group, attend
        self._ranks, self._rank = dist.get_world_size(group), dist.get_rank(group)
        check_degree(self._ranks, heads)

    def own_heads(self, heads: int) -> int:
        """Return this rank's share of the heads."""
        return heads // self._ranks

    def shard(self, x: torch.Tensor) -> torch.Tensor:
        """Return a copy of this rank's tokens (B, L, ...), zeros after the last, of (B, N, ...)."""
        share = self._share(x.shape[1])
        own = x[:, self._rank * share : (self._rank + 1) * share]
        missing = share - own.shape[1]
        # A view would keep all ranks' tokens in memory.
        return F.pad(own, (0, 0) * (x.ndim - 2) + (0, missing)) if missing else own.clone()

    def gather(self, x: torch.Tensor, length: int) -> torch.Tensor:
        """Return all tokens (B, N, ...) of every rank's (B, L, ...)."""
        parts = [torch.empty_like(x) for _ in range(self._ranks)]
        dist.all_gather(parts, x.contiguous(), self._group)
        return torch.cat(parts, dim=1)[:, :length]

    def first_token(self, length: int) -> int:
        """Return the position of this rank's first token."""
        return self._rank * self._share(length)

    def attend_by(self, attend: Attention) -> None:
        """Have `attend` compute self-attention from now on."""
        self._attend = attend

    def _share(self, length: int) -> int:
        """Return the tokens of each rank, of which the last ranks' may be padding."""
        return max(-(-length // self._ranks), LEAST_SHARE)

    def attend(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        length: int,
        way: HeadsAttention | None = None,
    ) -> torch.Tensor:
        """Return self-attention over all `length` tokens for this rank's (B, L, H, D).

        Queries, keys and values travel together, one part of the heads after the other; `way`
        computes a part where the kernel does not.
        """
        parts, left, first_head = self._parts((q, k, v)), [], 0
        coming = [self._send(parts[0])]
        for index in range(len(parts)):
            if index + 1 < len(parts):
                coming.append(self._send(parts[index + 1]))
            heads = slice(first_head, first_head := first_head + parts[index][0].shape[3])
            # Taken off the list, so that a part's memory is free as soon as it was attended to.
            left.append(self._return(coming.pop(0), length, heads, way))
        result = q.new_empty(q.shape)
        for (part,), arriving in zip(self._parts((result,)), left, strict=True):
            _wide(part).copy_(_wide(arriving.tensor()).permute(1, 2, 0, 3, 4))
        return result

    def _parts(self, tensors: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
        """Return views (B, L, ranks, heads, D) of each part of every rank's heads."""
        split = [x.unflatten(2, (self._ranks, -1)) for x in tensors]
        sizes = part_sizes(split[0].shape[3])
        return list(zip(*(x.split(sizes, 3) for x in split), strict=True))

    def _send(self, part: tuple[torch.Tensor, ...]) -> "_Transfer":
        """Start to send each rank its heads of this rank's tokens (B, L, 3, heads, D)."""
        batch, length, n, heads, size = part[0].shape
        sent = part[0].new_empty(n, batch, length, len(part), heads, size)
        for place, x in enumerate(part):
            _wide(sent)[:, :, :, place] = _wide(x).permute(2, 0, 1, 3, 4)
        return self._exchange(sent)

    def _return(
        self, part: "_Transfer", length: int, heads: slice, way: HeadsAttention | None
    ) -> "_Transfer":
        """Attend to what arrived and start to send each rank its tokens (B, L, heads, D)."""
        tokens = part.tensor().transpose(0, 1).flatten(1, 2)
        padding = tokens.shape[1] - length
        own = tokens[:, :length].unbind(2)
        out = way(*own, heads) if way else self._attend(*own)
        if padding:
            out = F.pad(out, (0, 0, 0, 0, 0, padding))
        return self._exchange(out.unflatten(1, (self._ranks, -1)).transpose(0, 1).contiguous())

    def _exchange(self, sent: torch.Tensor) -> "_Transfer":
        """Start to send rank r the r-th row of `sent` (ranks, ...), while this rank goes on."""
        received = torch.empty_like(sent)
        work = dist.all_to_all_single(received, sent, group=self._group, async_op=True)
        return _Transfer(received, work)


class _Transfer:
    """What the ranks send to this one, (ranks, ...), on its way."""

    def __init__(self, received: torch.Tensor, work: dist.Work):
        self._received, self._work = received, work

    def tensor(self) -> torch.Tensor:
        """Return it, once; what is done on the device after this finds it whole."""
        self._work.wait()
        # The work keeps what was sent in memory.
        del self._work
        return self._received


def _wide(x: torch.Tensor) -> torch.Tensor:
    """Return `x` as numbers of eight bytes: rearranged, they move faster than those of two."""
    return x.view(torch.int64)


def part_sizes(heads: int) -> list[int]:
    """Return the heads of each part that a rank attends to, in order."""
    ends = [round(heads * share) for share in accumulate(SHARES)]
    return [end - start for start, end in pairwise([0, *ends]) if end > start]


def check_degree(ranks: int, heads: int) -> None:
    """Raise a `ClipError` that names the allowed counts when the ranks do not divide the heads."""
    if heads % ranks:
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise ClipError(f"gpus is {ranks}, but {heads} attention heads can be shared by {allowed}")
