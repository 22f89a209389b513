"""A picture's rows spread over ranks, with the rows that convolutions need from the neighbours."""

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

    def padded(self, x: torch.Tensor, dim: int, above: int, below: int) -> torch.Tensor:
        """Return `x` with the neighbours' adjoining rows, zeros at the picture's edges."""
        padding = [0, 0] * (x.ndim - 1 - dim) + [above, below]
        return torch.nn.functional.pad(x, padding)


class SharedRows(WholeRows):
    """Consecutive rows on each rank, which differ by one unit at most."""

    def __init__(self, units: int, group: dist.ProcessGroup | None = None):
        """`units` are the rows of the smallest picture, the latents."""
        self._group = group
        self._rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        self._units = [len(part) for part in torch.arange(units).tensor_split(ranks)]
        if min(self._units) == 0:
            raise ValueError(f"{units} rows cannot be shared by {ranks} ranks")

    def take(self, x: torch.Tensor, dim: int, scale: int = 1) -> torch.Tensor:
        """Return this rank's rows of `x`."""
        return x.split([units * scale for units in self._units], dim)[self._rank]

    def gather(self, x: torch.Tensor, dim: int) -> torch.Tensor:
        """Return all rows of every rank's `x`."""
        scale = x.shape[dim] // self._units[self._rank]
        shapes = [[*x.shape[:dim], units * scale, *x.shape[dim + 1 :]] for units in self._units]
        most = max(self._units) * scale
        # Equal shares, padded: uneven ones are not supported by every backend.
        padding = [0, 0] * (x.ndim - 1 - dim) + [0, most - x.shape[dim]]
        own = torch.nn.functional.pad(x, padding).contiguous()
        parts = [torch.empty_like(own) for _ in shapes]
        dist.all_gather(parts, own, self._group)
        return torch.cat(
            [part.narrow(dim, 0, shape[dim]) for part, shape in zip(parts, shapes, strict=True)],
            dim,
        )

    def padded(self, x: torch.Tensor, dim: int, above: int, below: int) -> torch.Tensor:
        """Return `x` with the neighbours' adjoining rows, zeros at the picture's edges."""
        edges = torch.stack((x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)))
        everyone = [torch.empty_like(edges) for _ in self._units]
        dist.all_gather(everyone, edges, self._group)
        zeros = torch.zeros_like(edges[0])
        first, last = self._rank == 0, self._rank == len(self._units) - 1
        parts = [zeros if first else everyone[self._rank - 1][1]] * above + [x]
        parts += [zeros if last else everyone[self._rank + 1][0]] * below
        return torch.cat(parts, dim)
