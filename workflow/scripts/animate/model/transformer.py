"""The forward of Wan2.2-Animate-14B: what the pose, the faces and the image add to Wan's.

See `animate.model.wan` for what it shares with other models, and for the shapes.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.model.block import SamplingBlock
from animate.model.ops import Ops
from animate.model.positions import rotary_table
from animate.model.token_sharding import NoSharding, TokenSharding
from animate.model.wan import (
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
        tokens = self._condition_tokens(condition_latents, pose_latents, pose_strength)
        image = self.condition_embedder.image_embedder(image_embeds.to(self.dtype))
        text, motion = self._embed_text(prompt_embeds), self._encode_faces(face)
        return SegmentConstants(
            grid,
            self.sharding.first_token(tokens.shape[1]),
            self.sharding.shard(tokens),
            self._shared_tables(rotary_table(grid, self.head_size)),
            [block.constants(*text, image, motion, face_strength) for block in self.blocks],
        )

    def unguided_constants(
        self, constants: SegmentConstants, face_frames: int, prompt_embeds: torch.Tensor
    ) -> SegmentConstants:
        """Return `constants` with another prompt and black faces, for guidance."""
        size = self.motion_encoder.size
        black = torch.full((1, 3, size, size), -1.0, device=self.device, dtype=self.dtype)
        motion = self.motion_encoder(black).expand(len(prompt_embeds), face_frames, -1)
        text, face = self._embed_text(prompt_embeds), self._face_features(motion)
        blocks = [
            block.constants(*text, old.image, face, old.face_strength)
            for block, old in zip(self.blocks, constants.blocks, strict=True)
        ]
        return replace(constants, blocks=blocks)

    def _encode_faces(self, face: torch.Tensor) -> torch.Tensor:
        crops = face.transpose(1, 2).flatten(0, 1)
        motion = [self.motion_encoder(batch.to(self.dtype)) for batch in crops.split(FACE_BATCH)]
        return self._face_features(torch.cat(motion).unflatten(0, (face.shape[0], -1)))

    def _face_features(self, motion: torch.Tensor) -> torch.Tensor:
        """Return (B, T, n, C) of motion (B, F, m); the reference's frame, the first, has none."""
        return F.pad(self.face_encoder(motion), (0, 0, 0, 0, 1, 0))

    def _condition_tokens(
        self, condition: torch.Tensor, pose: torch.Tensor, pose_strength: float
    ) -> torch.Tensor:
        pose_conv = self.pose_patch_embedding
        tokens = self._given_tokens(condition, self.latent_channels)
        pose = patches(pose, self.patch_size).to(self.dtype)
        pose = F.linear(pose, pose_conv.weight.flatten(1), pose_conv.bias).float()
        tokens[:, -pose.shape[1] :] += pose_strength * pose
        return tokens
