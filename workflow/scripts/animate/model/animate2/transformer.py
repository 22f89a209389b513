"""The forward of Wan-Animate-2: once per segment over the driving video, then step by step.

The pass over the driving segment keeps the keys and values of its tokens in all blocks; in a step
the generated tokens see those of their own latent frame. The driving tokens' positions lie beside
the generated ones': one frame later in time, one frame's width to the right. As they are the same
in both passes, keys are kept with their positions. See `animate.model.wan` for the shapes.
"""

from dataclasses import dataclass, field, replace

import torch
from diffusers import WanAnimate2Transformer3DModel
from torch import nn

from animate.model.animate2.attention import Merge, attend_driven, merged_by_frames
from animate.model.animate2.driving import DrivingKeys, DrivingMemory, ResidentDriving
from animate.model.attention import PartialAttention, partial_attention
from animate.model.block import BlockConditions, BlockConstants, BlockNames, SamplingBlock
from animate.model.ops import Ops
from animate.model.positions import rotary_table
from animate.model.token_sharding import NoSharding, TokenSharding
from animate.model.wan import (
    Grid,
    HeadLayers,
    SegmentConstants,
    TimeEmbedding,
    TimeLayers,
    WanTransformer,
    token_grid,
)


@dataclass(frozen=True)
class DrivenConstants(SegmentConstants):
    """What the steps of a segment share, with what was kept of its driving video.

    `log_scale` as `attend_driven` has it.
    """

    driving: DrivingKeys = field(kw_only=True)
    log_scale: float = 0.0


NAMES = BlockNames("self_attn", "cross_attn", "norm3", "norm2", "modulation")
# What the forward without guidance leaves out.
UNGUIDED_SKIPS = frozenset({9})
# The noise level of the pass over the driving video, as a timestep in 0..1000.
DRIVING_TIMESTEP = 1.0
MASK_CHANNELS = 4


class DrivenTransformer(WanTransformer):
    """The velocity of the noisy latents, from diffusers' weights and a division of the tokens."""

    ENTRIES = ("keep_driving", "segment_constants", "unguided_constants")

    def __init__(
        self,
        weights: WanAnimate2Transformer3DModel,
        sharding: TokenSharding | None = None,
        ops: Ops | None = None,
        memory: DrivingMemory = ResidentDriving,
    ):
        """All tokens and what is kept are here by default, and `ops` are plain."""
        config = weights.config
        sharding = sharding or NoSharding()
        super().__init__(sharding, config, config.dim // config.num_heads, config.out_dim)
        ops = ops or Ops(sharding.attend)
        self._attend: PartialAttention = partial_attention
        self._merge: Merge = merged_by_frames
        self.blocks = nn.ModuleList(
            SamplingBlock(block, None, ops, NAMES) for block in weights.blocks
        )
        self.patch_embedding = weights.patch_embedding
        self.text_embedding = weights.text_embedding
        self.time_embedder = weights.time_embedding
        self.time_projection = weights.time_projection
        self.image_embedding = weights.img_emb
        self.head = weights.head
        self._heads = config.num_heads
        self._offsets = config.refer_offset_t, config.refer_offset_h, config.refer_offset_w
        self._stride = config.refer_stride
        self._memory = memory

    def attend_by(self, attend: PartialAttention, merge: Merge = merged_by_frames) -> None:
        """Have `attend` compute attention over sets of keys, and `merge` join them, from now on."""
        self._attend, self._merge = attend, merge

    def keep_in(self, memory: DrivingMemory) -> None:
        """Have the driving segments' keys and values kept there from now on."""
        self._memory = memory

    @property
    def kept_per_token(self) -> int:
        """Bytes of a driving token's keys and values in all blocks, of all heads."""
        return len(self.blocks) * 2 * self._heads * self.head_size * self.dtype.itemsize

    @property
    def time_layers(self) -> TimeLayers:
        """What embeds timesteps."""
        return TimeLayers(self.time_embedder[0], self.time_embedder[2], self.time_projection[1])

    @property
    def head_layers(self) -> HeadLayers:
        """What makes patches of tokens."""
        return HeadLayers(self.head.norm, self.head.head, self.head.modulation)

    @property
    def text_layers(self) -> nn.Module:
        """What embeds the text encoder's output."""
        return self.text_embedding

    def keep_driving(
        self, latents: torch.Tensor, image_embeds: torch.Tensor, prompt_embeds: torch.Tensor
    ) -> DrivingKeys:
        """Run a driving segment through the blocks and return its tokens' keys and values.

        Args:
            latents: (B, 16, T, h, w).
            image_embeds: (B, 257, n), the image encoder's features of the first driving frame.
            prompt_embeds: (B, up to 512, n), of the prompt for the driving video.
        """
        grid = token_grid(latents, self.patch_size)
        frames, tokens = grid[0], grid[1] * grid[2]
        length = frames * tokens
        attend = self._attend
        shape = (len(latents), frames, tokens, self.sharding.own_heads(self._heads), self.head_size)
        room = len(self.blocks), torch.Size(shape), self.dtype, self.device
        driving = self._memory(*room)
        mask = torch.ones_like(latents[:, :1]).expand(-1, MASK_CHANNELS, -1, -1, -1)
        # Everything is given: the driving video is its own condition.
        x = self._given_tokens(torch.cat((latents, mask, latents), dim=1), 0)
        first_token = self.sharding.first_token(length)
        x = self.sharding.shard(x)
        rotary = self._shared_tables(
            rotary_table(grid, self.head_size, self._starts(grid), self._stride)
        )
        time = self.time_embedding(torch.tensor([DRIVING_TIMESTEP]))
        text, image = self._embed_text(prompt_embeds), self._embed_image(image_embeds)
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):

            def way(q, k, v, heads, index=index) -> torch.Tensor:
                by_frame = (kept.unflatten(1, (frames, tokens)) for kept in (k, v))
                driving.put(index, heads, *by_frame)
                # Nothing comes after the last block's keys and values.
                return q if index == last else attend(q, k, v)[0]

            constants = block.constants(BlockConditions(*text, image))
            place = length, first_token, tokens
            x = block(x, time.blocks, constants, rotary, *place, way)
        return driving

    def segment_constants(
        self,
        condition_latents: torch.Tensor,
        image_embeds: torch.Tensor,
        prompt_embeds: torch.Tensor,
        driving: DrivingKeys,
        log_scale: float = 0.0,
    ) -> DrivenConstants:
        """Return what the steps of a segment share.

        Args:
            condition_latents: (B, 20, T, h, w), mask and latents of the reference and of the frames
                sampled before; T is one more than the driving segment's.
            image_embeds: (B, 257, n), the image encoder's features of the reference.
            prompt_embeds: (B, up to 512, n).
            driving: what `keep_driving` returned.
            log_scale: -1.3 for the distilled model, 0 for the other; see `attend_driven`.
        """
        grid = token_grid(condition_latents, self.patch_size)
        tokens = self._given_tokens(condition_latents, self.latent_channels)
        text, image = self._embed_text(prompt_embeds), self._embed_image(image_embeds)
        return DrivenConstants(
            grid,
            self.sharding.first_token(tokens.shape[1]),
            self.sharding.shard(tokens),
            self._shared_tables(rotary_table(grid, self.head_size)),
            [block.constants(BlockConditions(*text, image)) for block in self.blocks],
            driving=driving,
            log_scale=log_scale,
        )

    def unguided_constants(
        self, constants: DrivenConstants, prompt_embeds: torch.Tensor
    ) -> DrivenConstants:
        """Return `constants` with another prompt, for guidance; a block is left out there."""
        text = self._embed_text(prompt_embeds)
        blocks = [
            block.constants(BlockConditions(*text, old.image))
            for block, old in zip(self.blocks, constants.blocks, strict=True)
        ]
        return replace(constants, blocks=blocks, skipped=UNGUIDED_SKIPS)

    def _block(
        self,
        index: int,
        block: SamplingBlock,
        x: torch.Tensor,
        time: TimeEmbedding,
        own: BlockConstants,
        constants: DrivenConstants,
    ) -> torch.Tensor:
        how = self._attend, self._merge
        with constants.driving.here(index) as driving:

            def way(q, k, v, heads) -> torch.Tensor:
                seen = tuple(kept[..., heads, :] for kept in driving)
                return attend_driven(*how, q, k, v, seen, constants.log_scale)

            place = constants.length, constants.first_token, constants.frame_tokens
            return block(x, time.blocks, own, constants.rotary, *place, way)

    def _starts(self, grid: Grid) -> Grid:
        """Return the first positions of the driving tokens; -1 stands for the size of the axis."""
        return tuple(
            size if offset < 0 else offset for offset, size in zip(self._offsets, grid, strict=True)
        )

    def _embed_image(self, image_embeds: torch.Tensor) -> torch.Tensor:
        return self.image_embedding(image_embeds.to(self.dtype))
