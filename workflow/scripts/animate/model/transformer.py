"""The forward of Wan2.2-Animate-14B: what the pose, the faces and the image add to Wan's.

See `animate.model.wan` for what it shares with other models, and for the shapes.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.model.block import BlockConditions, SamplingBlock
from animate.model.ops import Ops
from animate.model.positions import rotary_table
from animate.model.token_sharding import NoSharding, TokenSharding
from animate.model.wan import (
    ConditionPatches,
    HeadLayers,
    SegmentConstants,
    TimeLayers,
    WanTransformer,
    patches,
    token_grid,
)

FACE_BATCH = 8


class SamplingTransformer(WanTransformer):
    """The velocity of the noisy latents, from diffusers' weights and a division of the tokens."""

    ENTRIES = ("segment_constants", "unguided_constants")

    def __init__(
        self,
        weights: WanAnimateTransformer3DModel,
        sharding: TokenSharding | None = None,
        ops: Ops | None = None,
    ):
        """All tokens are here unless a `sharding` is given; by default `ops` are plain."""
        config = weights.config
        sharding = sharding or NoSharding()
        super().__init__(sharding, config, config.attention_head_dim, config.latent_channels)
        ops = ops or Ops(sharding.attend)
        every = config.inject_face_latents_blocks
        faces = iter(weights.face_adapter)
        self.blocks = nn.ModuleList(
            SamplingBlock(block, next(faces) if index % every == 0 else None, ops)
            for index, block in enumerate(weights.blocks)
        )
        self.patch_embedding = weights.patch_embedding
        self.pose_patch_embedding = weights.pose_patch_embedding
        self.condition_embedder = weights.condition_embedder
        self.motion_encoder = weights.motion_encoder
        self.face_encoder = weights.face_encoder
        self.norm_out = weights.norm_out
        self.proj_out = weights.proj_out
        # In a tuple, which does not make them a part of this model: the blocks would be so twice.
        self._weights = (weights,)

    @property
    def time_layers(self) -> TimeLayers:
        """What embeds timesteps."""
        embedder = self.condition_embedder
        layers = embedder.time_embedder
        return TimeLayers(layers.linear_1, layers.linear_2, embedder.time_proj)

    @property
    def head_layers(self) -> HeadLayers:
        """What makes patches of tokens; the modulation belongs to no module here."""
        return HeadLayers(self.norm_out, self.proj_out, self._weights[0].scale_shift_table)

    @property
    def text_layers(self) -> nn.Module:
        """What embeds the text encoder's output."""
        return self.condition_embedder.text_embedder

    def segment_constants(
        self,
        condition_latents: torch.Tensor,
        pose_latents: torch.Tensor,
        face: torch.Tensor,
        image_embeds: torch.Tensor,
        prompt_embeds: torch.Tensor,
        pose_strength: float = 1.0,
        face_strength: float = 1.0,
    ) -> SegmentConstants:
        """Return what the steps of a segment share.

        Args:
            condition_latents: (B, 20, T, h, w), mask and latents of reference and background.
            pose_latents: (B, 16, T - 1, h, w).
            face: (B, 3, F, S, S) in -1..1, S the motion encoder's size (512).
            image_embeds: (B, 257, n), the image encoder's features of the reference.
            prompt_embeds: (B, up to 512, n); the model was trained on 512 tokens, zeros after the
                prompt.
            pose_strength, face_strength: factors of what the pose adds to the tokens, and each face
                adapter to the residual stream; 1 is the model as it was trained.
        """
        grid = token_grid(condition_latents, self.patch_size)
        first, frame_tokens = self.sharding.first_token(math.prod(grid)), grid[1] * grid[2]
        given = patches(condition_latents, self.patch_size), patches(pose_latents, self.patch_size)
        if self._by_frames:
            pose = self.sharding.shard(F.pad(given[1], (0, 0, frame_tokens, 0)))
            reference = min(max(0, frame_tokens - first), pose.shape[1])
            condition = self.sharding.shard(given[0])
            tokens = ConditionPatches(condition, pose, reference, pose_strength)
        else:
            tokens = self.sharding.shard(self._condition_tokens(*given, pose_strength))
        image = self.condition_embedder.image_embedder(image_embeds.to(self.dtype))
        text, motion = self._embed_text(prompt_embeds), self._encode_faces(face)
        conditions = BlockConditions(*text, image, motion, face_strength)
        return SegmentConstants(
            grid,
            first,
            tokens,
            self._shared_tables(rotary_table(grid, self.head_size)),
            [
                conditions if self._by_frames else block.constants(conditions)
                for block in self.blocks
            ],
        )

    def unguided_constants(
        self, constants: SegmentConstants, face_frames: int, prompt_embeds: torch.Tensor
    ) -> SegmentConstants:
        """Return `constants` with another prompt and black faces, for guidance."""
        size = self.motion_encoder.size
        black = torch.full((1, 3, size, size), -1.0, device=self.device, dtype=self.dtype)
        motion = self.motion_encoder(black).expand(len(prompt_embeds), face_frames, -1)
        text, face = self._embed_text(prompt_embeds), self._face_features(motion)
        blocks = []
        for block, old in zip(self.blocks, constants.blocks, strict=True):
            own = BlockConditions(*text, old.image, face, old.face_strength)
            blocks.append(own if self._by_frames else block.constants(own))
        return replace(constants, blocks=blocks)

    def _encode_faces(self, face: torch.Tensor) -> torch.Tensor:
        crops = face.transpose(1, 2).flatten(0, 1)
        motion = [self.motion_encoder(batch.to(self.dtype)) for batch in crops.split(FACE_BATCH)]
        return self._face_features(torch.cat(motion).unflatten(0, (face.shape[0], -1)))

    def _face_features(self, motion: torch.Tensor) -> torch.Tensor:
        """Return (B, T, n, C) of motion (B, F, m); the reference's frame, the first, has none."""
        return F.pad(self.face_encoder(motion), (0, 0, 0, 0, 1, 0))

    def _first_tokens(self, noisy: torch.Tensor, constants: SegmentConstants) -> torch.Tensor:
        if not self._by_frames:
            return super()._first_tokens(noisy, constants)
        given, width = constants.tokens, self.patch_embedding.weight.shape[0]
        x = torch.empty(*noisy.shape[:2], width, device=self.device)
        for start in range(0, x.shape[1], constants.frame_tokens):
            part = slice(start, start + constants.frame_tokens)
            pose = given.pose[:, max(start, given.reference_tokens) : part.stop]
            tokens = self._condition_tokens(given.condition[:, part], pose, given.pose_strength)
            x[:, part] = tokens + self._noisy_tokens(noisy[:, part])
        return x

    def _condition_tokens(
        self, condition: torch.Tensor, pose: torch.Tensor, pose_strength: float
    ) -> torch.Tensor:
        """Return tokens of patches of the condition; the last of them have those of the pose."""
        pose_conv = self.pose_patch_embedding
        tokens = self._embed_given(condition, self.latent_channels)
        pose = F.linear(pose.to(self.dtype), pose_conv.weight.flatten(1), pose_conv.bias).float()
        tokens[:, tokens.shape[1] - pose.shape[1] :] += pose_strength * pose
        return tokens
