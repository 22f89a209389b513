"""Positions as the transformer sees them: rotary embedding of tokens, sinusoids of timesteps."""

import torch
from torch import nn

ROPE_BASE = 10000.0


def rotary_table(
    grid: tuple[int, int, int],
    head_size: int,
    starts: tuple[int, int, int] = (0, 0, 0),
    stride: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosine and sine, each (1, T*H*W, 1, head_size / 2) fp32, of a grid of tokens.

    The three axes share a head as in Wan 2.1 (arXiv:2503.20314): height and width take
    `2 * (head_size // 6)` channels each, time the rest. Positions begin at `starts`; from a latent
    frame to the next it is `stride`. Computed in fp64.
    """
    spatial = 2 * (head_size // 6)
    sizes = (head_size - 2 * spatial, spatial, spatial)
    angles = []
    steps = (stride, 1, 1)
    for axis, (length, size) in enumerate(zip(grid, sizes, strict=True)):
        frequencies = ROPE_BASE ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
        places = starts[axis] + steps[axis] * torch.arange(length, dtype=torch.float64)
        angle = torch.outer(places, frequencies)
        shape = [1, 1, 1, -1]
        shape[axis] = length
        angles.append(angle.view(shape).expand(*grid, -1))
    angles = torch.cat(angles, dim=-1).flatten(0, 2)[None, :, None]
    return angles.cos().float(), angles.sin().float()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Return `x` (B, L, H, D) with its channel pairs turned by the table's angles, in fp32."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


def norm_rotate(
    x: torch.Tensor, norm: nn.RMSNorm, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Return `x` (B, L, C) normalised over C, then its heads turned by the table's angles."""
    return rotate(norm(x).unflatten(2, (-1, 2 * cos.shape[3])), cos, sin).flatten(2)


def timestep_sinusoids(timesteps: torch.Tensor, size: int) -> torch.Tensor:
    """Return (S, size) fp32: cosines, then sines, of timesteps (S,) in 0..1000."""
    half = size // 2
    frequencies = ROPE_BASE ** -(torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(timesteps.double().cpu(), frequencies)
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()
