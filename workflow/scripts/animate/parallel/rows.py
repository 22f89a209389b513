"""The rows of frames sharded over ranks, with the halo that convolutions need: neighbours' rows."""

import torch
import torch.distributed as dist


class WholeRows:
    """All rows in one process."""

    def take(self, x: torch.Tensor, dim: int, scale: int = 1) -> torch.Tensor:
        """Return this process's rows of `x`; `scale` is the number of rows per unit of division."""
        return x

    def gather(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """Return all rows of every process's `x`."""
        return x

    def with_halo(self, x: torch.Tensor, dim: int, above: int, below: int) -> torch.Tensor:
        """Return `x` with one row of each neighbour asked for, zeros at the frame's edges."""
        padding = [0, 0] * (x.ndim - 1 - dim) + [above, below]
        return torch.nn.functional.pad(x, padding)


class SharedRows(WholeRows):
    """Consecutive rows on each rank, which differ by one unit at most.

    Ranks beyond the last unit repeat the last part, so that every rank does the same calls.
    """

    def __init__(self, units: int):
        """`units` are the rows of the smallest frames, the latents."""
        rank, ranks = dist.get_rank(), dist.get_world_size()
        self._units = [len(part) for part in torch.arange(units).tensor_split(min(units, ranks))]
        last = len(self._units) - 1
        self._part, self._repeats = min(rank, last), rank > last
        self._above = [self._part - 1] if self._part > 0 else []
        self._below = [other for other in range(1, ranks) if min(other, last) == self._part + 1]

    def take(self, x: torch.Tensor, dim: int, scale: int = 1) -> torch.Tensor:
        """Return this rank's rows of `x`."""
        return x.split([units * scale for units in self._units], dim)[self._part]

    def gather(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """Return all rows of every rank's `x`."""
        scale = x.shape[dim] // self._units[self._part]
        most = max(self._units) * scale
        # Equal shares, padded: uneven ones are not supported by every backend.
        padding = [0, 0] * (x.ndim - 1 - dim) + [0, most - x.shape[dim]]
        own = torch.nn.functional.pad(x, padding).contiguous()
        shares = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, own)
        # Of more shares than parts, the last repeat the last part.
        parts = zip(shares, self._units, strict=False)
        return torch.cat([share.narrow(dim, 0, units * scale) for share, units in parts], dim)

    def with_halo(self, x: torch.Tensor, dim: int, above: int, below: int) -> torch.Tensor:
        """Return `x` with one row of each neighbour asked for, zeros at the frame's edges."""
        first = x.narrow(dim, 0, 1).contiguous()
        last = x.narrow(dim, x.shape[dim] - 1, 1).contiguous()
        over, under = torch.zeros_like(first), torch.zeros_like(first)
        messages = []
        if above:
            messages += [dist.P2POp(dist.isend, last, rank) for rank in self._below]
            messages += [dist.P2POp(dist.irecv, over, rank) for rank in self._above]
        if below:
            readers = [] if self._repeats else self._above
            messages += [dist.P2POp(dist.isend, first, rank) for rank in readers]
            messages += [dist.P2POp(dist.irecv, under, rank) for rank in self._below[:1]]
        for message in dist.batch_isend_irecv(messages) if messages else []:
            message.wait()
        return torch.cat([over] * above + [x] + [under] * below, dim)
