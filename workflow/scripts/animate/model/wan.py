"""What the sampling forwards of Wan 2.1's descendants share.

The weights sit in diffusers' classes; the forwards are ours. What the steps of a segment share is
computed once, as its `SegmentConstants`; a step is then `forward`. The residual stream is fp32
whatever the weights' type, as in the official models. A model's own module says what its layers are
called, and what its constants are made of. Shapes: B batch, L tokens of this process, H heads,
D head size, C model width, T latent frames (the reference's first).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from animate.model.block import BlockConditions, BlockConstants, SamplingBlock, layer_norm
from animate.model.positions import timestep_sinusoids
from animate.model.token_sharding import TokenSharding

TEXT_TOKENS = 512
# Prompts of up to this many tokens share compiled code, the next as many as well.
TEXT_UNIT = 64

Grid = tuple[int, int, int]


@dataclass(frozen=True)
class ConditionPatches:
    """This process's patches of the condition (B, L, 80) and of the pose (B, L, 64).

    The reference's, of which `reference_tokens` are here, come first and have no pose: zeros.
    """

    condition: torch.Tensor
    pose: torch.Tensor
    reference_tokens: int
    pose_strength: float


@dataclass(frozen=True)
class SegmentConstants:
    """All that the steps of a segment share.

    `tokens` (B, L, C) fp32 is the embedding of what is given beside the noisy latents, `rotary` the
    cosine and sine of this process's tokens, `grid` the whole video's size in tokens (T, H, W).
    The blocks numbered in `skipped` take no part. A model that computes by frames may have what
    tokens and the blocks' constants are made of instead, and makes them in each step.
    """

    grid: Grid
    first_token: int
    tokens: torch.Tensor | ConditionPatches
    rotary: tuple[torch.Tensor, torch.Tensor]
    blocks: list[BlockConstants] | list[BlockConditions]
    skipped: frozenset[int] = frozenset()

    @property
    def frame_tokens(self) -> int:
        """Tokens of one latent frame."""
        return self.grid[1] * self.grid[2]

    @property
    def length(self) -> int:
        """Tokens of the whole video."""
        return self.grid[0] * self.frame_tokens


@dataclass(frozen=True)
class TimeEmbedding:
    """Embedding of timesteps, fp32: `head` (S, C) for the output, `blocks` (S, 6, C)."""

    head: torch.Tensor
    blocks: torch.Tensor

    def step(self, index: int) -> "TimeEmbedding":
        """Return the embedding of one timestep, S = 1."""
        return TimeEmbedding(self.head[index : index + 1], self.blocks[index : index + 1])


class TimeLayers(NamedTuple):
    """The linear layers that embed a timestep: two with a SiLU between, and the blocks' after."""

    first: nn.Linear
    second: nn.Linear
    blocks: nn.Linear


class HeadLayers(NamedTuple):
    """The last layers, and what modulates their input, (1, 2, C)."""

    norm: nn.LayerNorm
    linear: nn.Linear
    modulation: torch.Tensor


class WanTransformer(nn.Module):
    """The velocity of noisy latents; a model sets `blocks`, `patch_embedding` and its layers.

    `ENTRIES` are its methods beside `forward` that use weights.
    """

    ENTRIES: tuple[str, ...] = ()
    blocks: nn.ModuleList
    patch_embedding: nn.Conv3d

    def __init__(self, sharding: TokenSharding, config: dict, head_size: int, channels: int):
        """`channels` are the latents'; `config` is that of diffusers' class."""
        super().__init__()
        self.sharding = sharding
        self.patch_size = tuple(config["patch_size"])
        self.frequency_size = config["freq_dim"]
        self.head_size = head_size
        self.latent_channels = channels
        self._by_frames = False

    @property
    def time_layers(self) -> TimeLayers:
        """What embeds timesteps."""
        raise NotImplementedError

    @property
    def head_layers(self) -> HeadLayers:
        """What makes patches of tokens."""
        raise NotImplementedError

    @property
    def text_layers(self) -> nn.Module:
        """What embeds the text encoder's output, (B, n, m) to (B, n, C)."""
        raise NotImplementedError

    def compute_by_frames(self) -> None:
        """Have one latent frame's tokens at a time taken: less memory.

        Only keys, values and the residual stream are held for all of this process's tokens; where
        several attend together, queries and what they find, too.
        """
        self._by_frames = True
        for block in self.blocks:
            block.compute_by_frames(self.sharding.attend_over)

    @property
    def kept_per_token(self) -> int:
        """Bytes that all blocks keep of each driving token, through all steps of a segment."""
        return 0

    @property
    def dtype(self) -> torch.dtype:
        """The type of the matrix products."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.patch_embedding.weight.device

    def time_embedding(self, timesteps: torch.Tensor) -> TimeEmbedding:
        """Return the embedding of timesteps (S,) in 0..1000, computed in fp32."""
        layers = self.time_layers
        x = timestep_sinusoids(timesteps, self.frequency_size).to(self.device)
        x = linear_fp32(F.silu(linear_fp32(x, layers.first)), layers.second)
        return TimeEmbedding(x, linear_fp32(F.silu(x), layers.blocks).unflatten(1, (6, -1)))

    def forward(
        self, latents: torch.Tensor, time: TimeEmbedding, constants: SegmentConstants
    ) -> torch.Tensor:
        """Return the predicted velocity of noisy latents (B, 16, T, h, w), same shape, fp32."""
        noisy = self.sharding.shard(patches(latents, self.patch_size))
        x = self._first_tokens(noisy, constants)
        for index, (block, own) in enumerate(zip(self.blocks, constants.blocks, strict=True)):
            if index not in constants.skipped:
                x = self._block(index, block, x, time, own, constants)
        parts = x.split(constants.frame_tokens, dim=1) if self._by_frames else (x,)
        x = torch.cat([self._head(part, time.head) for part in parts], dim=1)
        x = self.sharding.gather(x, constants.length)
        return unpatch(x, constants.grid, self.patch_size)

    def _first_tokens(self, noisy: torch.Tensor, constants: SegmentConstants) -> torch.Tensor:
        """Return the residual stream before the blocks, of patches (B, L, n) of noisy latents."""
        return constants.tokens + self._noisy_tokens(noisy)

    def _noisy_tokens(self, noisy: torch.Tensor) -> torch.Tensor:
        weight = self.patch_embedding.weight[:, : self.latent_channels].flatten(1)
        return F.linear(noisy.to(self.dtype), weight).float()

    def _block(
        self,
        index: int,
        block: SamplingBlock,
        x: torch.Tensor,
        time: TimeEmbedding,
        own: BlockConstants | BlockConditions,
        constants: SegmentConstants,
    ) -> torch.Tensor:
        """Return the residual stream after block number `index`."""
        place = constants.length, constants.first_token, constants.frame_tokens
        return block(x, time.blocks, own, constants.rotary, *place)

    def _head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        layers = self.head_layers
        shift, scale = (layers.modulation.float() + time[:, None]).chunk(2, dim=1)
        return linear_fp32(layer_norm(x, layers.norm) * (1 + scale) + shift, layers.linear)

    def _given_tokens(self, given: torch.Tensor, first: int) -> torch.Tensor:
        """Return the embedding (B, N, C) fp32 of input channels from number `first` on.

        That is without the noisy latents, whose embedding is added in each step. `given` is
        (B, channels, T, h, w).
        """
        return self._embed_given(patches(given, self.patch_size), first)

    def _embed_given(self, given: torch.Tensor, first: int) -> torch.Tensor:
        """Return the same of patches (B, L, n)."""
        conv = self.patch_embedding
        weight = conv.weight[:, first:].flatten(1)
        return F.linear(given.to(self.dtype), weight, conv.bias).float()

    def _embed_text(self, prompt_embeds: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return embedded text with one token of padding, and how many that one stands for."""
        length = prompt_embeds.shape[1]
        kept = -(-length // TEXT_UNIT) * TEXT_UNIT
        padded = F.pad(prompt_embeds, (0, 0, 0, kept + 1 - length))
        return self.text_layers(padded.to(self.dtype)), TEXT_TOKENS - kept

    def _shared_tables(self, tables: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this process's tokens of rotary tables."""
        return tuple(self.sharding.shard(table.to(self.device)) for table in tables)


def linear_fp32(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """Return what a linear layer makes of `x` (..., n), computed in fp32."""
    return F.linear(x, layer.weight.float(), layer.bias.float())


def token_grid(latents: torch.Tensor, patch: Grid) -> Grid:
    """Return the size in tokens (T, H, W) of latents (B, c, T, h, w)."""
    return tuple(n // p for n, p in zip(latents.shape[2:], patch, strict=True))


def patches(latents: torch.Tensor, patch: Grid) -> torch.Tensor:
    """Return (B, tokens, channels * patch): a strided convolution is a linear layer over these."""
    (t, h, w), (pt, ph, pw) = token_grid(latents, patch), patch
    x = latents.reshape(*latents.shape[:2], t, pt, h, ph, w, pw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def unpatch(x: torch.Tensor, grid: Grid, patch: Grid) -> torch.Tensor:
    """Return latents (B, c, T, h, w) of what the head made of tokens (B, tokens, patch * c)."""
    x = x.unflatten(2, (*patch, -1)).unflatten(1, grid)
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
