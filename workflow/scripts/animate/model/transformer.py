"""The transformer's forward, made for sampling.

The weights sit in diffusers' `WanAnimateTransformer3DModel`; the forward is ours. What the steps of
a segment share (conditioning tokens, keys and values of text, image and face) is computed once by
`segment_constants`; a step is then `forward`. The residual stream is fp32 whatever the weights'
type, as in the official model. Shapes: B batch, L tokens of this process, H heads, D head size,
C model width, T latent frames (the reference's first).
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.model.block import BlockConstants, SamplingBlock, layer_norm
from animate.model.ops import Ops
from animate.model.positions import rotary_table, timestep_sinusoids
from animate.model.token_sharding import NoSharding, TokenSharding

TEXT_TOKENS = 512
# Prompts of up to this many tokens share compiled code, the next as many as well.
TEXT_UNIT = 64
FACE_BATCH = 8


@dataclass(frozen=True)
class SegmentConstants:
    """All that the steps of a segment share.

    `tokens` (B, L, C) fp32 is the embedding of the condition and pose latents, `rotary` the cosine
    and sine of this process's tokens, `grid` the whole video's size in tokens (T, H, W).
    """

    grid: tuple[int, int, int]
    first_token: int
    tokens: torch.Tensor
    rotary: tuple[torch.Tensor, torch.Tensor]
    blocks: list[BlockConstants]


@dataclass(frozen=True)
class TimeEmbedding:
    """Embedding of timesteps, fp32: `head` (S, C) for the output, `blocks` (S, 6, C)."""

    head: torch.Tensor
    blocks: torch.Tensor

    def step(self, index: int) -> "TimeEmbedding":
        """Return the embedding of one timestep, S = 1."""
        return TimeEmbedding(self.head[index : index + 1], self.blocks[index : index + 1])


class SamplingTransformer(nn.Module):
    """The velocity of the noisy latents, from diffusers' weights and a division of the tokens."""

    def __init__(
        self,
        weights: WanAnimateTransformer3DModel,
        sharding: TokenSharding | None = None,
        ops: Ops | None = None,
    ):
        """All tokens are here unless a `sharding` is given; by default `ops` are plain."""
        super().__init__()
        config = weights.config
        self.sharding = sharding or NoSharding()
        ops = ops or Ops(self.sharding.attend)
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
        self.patch_size = tuple(config.patch_size)
        self.head_size = config.attention_head_dim
        self.frequency_size = config.freq_dim
        self.latent_channels = config.latent_channels
        self._by_frames = False

    def compute_by_frames(self) -> None:
        """Have all but self-attention take one latent frame's tokens at a time: less memory."""
        self._by_frames = True
        for block in self.blocks:
            block.compute_by_frames()

    @property
    def scale_shift_table(self) -> nn.Parameter:
        """The head's modulation (1, 2, C), the one parameter that belongs to no module here."""
        return self._weights[0].scale_shift_table

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
        embedder = self.condition_embedder
        x = timestep_sinusoids(timesteps, self.frequency_size).to(self.device)
        x = _linear_fp32(
            F.silu(_linear_fp32(x, embedder.time_embedder.linear_1)),
            embedder.time_embedder.linear_2,
        )
        return TimeEmbedding(x, _linear_fp32(F.silu(x), embedder.time_proj).unflatten(1, (6, -1)))

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
        grid = _token_grid(condition_latents, self.patch_size)
        tokens = self._condition_tokens(condition_latents, pose_latents, pose_strength)
        rotary = [table.to(self.device) for table in rotary_table(grid, self.head_size)]
        image = self.condition_embedder.image_embedder(image_embeds.to(self.dtype))
        text, motion = self._embed_text(prompt_embeds), self._encode_faces(face)
        return SegmentConstants(
            grid,
            self.sharding.first_token(tokens.shape[1]),
            self.sharding.shard(tokens),
            tuple(self.sharding.shard(table) for table in rotary),
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

    def forward(
        self, latents: torch.Tensor, time: TimeEmbedding, constants: SegmentConstants
    ) -> torch.Tensor:
        """Return the predicted velocity of noisy latents (B, 16, T, h, w), same shape, fp32."""
        weight = self.patch_embedding.weight[:, : self.latent_channels].flatten(1)
        patches = self.sharding.shard(_patches(latents, self.patch_size))
        x = constants.tokens + F.linear(patches.to(self.dtype), weight).float()
        frame_tokens = constants.grid[1] * constants.grid[2]
        length = constants.grid[0] * frame_tokens
        for block, block_constants in zip(self.blocks, constants.blocks, strict=True):
            x = block(
                x,
                time.blocks,
                block_constants,
                constants.rotary,
                length,
                constants.first_token,
                frame_tokens,
            )
        parts = x.split(frame_tokens, dim=1) if self._by_frames else (x,)
        x = torch.cat([self._head(part, time.head) for part in parts], dim=1)
        return _unpatch(self.sharding.gather(x, length), constants.grid, self.patch_size)

    def _head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        shift, scale = (self.scale_shift_table.float() + time[:, None]).chunk(2, dim=1)
        return _linear_fp32(layer_norm(x, self.norm_out) * (1 + scale) + shift, self.proj_out)

    def _condition_tokens(
        self, condition: torch.Tensor, pose: torch.Tensor, pose_strength: float
    ) -> torch.Tensor:
        conv, pose_conv = self.patch_embedding, self.pose_patch_embedding
        condition = _patches(condition, self.patch_size).to(self.dtype)
        weight = conv.weight[:, self.latent_channels :].flatten(1)
        tokens = F.linear(condition, weight, conv.bias).float()
        pose = _patches(pose, self.patch_size).to(self.dtype)
        pose = F.linear(pose, pose_conv.weight.flatten(1), pose_conv.bias).float()
        tokens[:, -pose.shape[1] :] += pose_strength * pose
        return tokens

    def _embed_text(self, prompt_embeds: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return embedded text with one token of padding, and how many that one stands for."""
        length = prompt_embeds.shape[1]
        kept = -(-length // TEXT_UNIT) * TEXT_UNIT
        padded = F.pad(prompt_embeds, (0, 0, 0, kept + 1 - length))
        return self.condition_embedder.text_embedder(padded.to(self.dtype)), TEXT_TOKENS - kept


def _linear_fp32(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    return F.linear(x, layer.weight.float(), layer.bias.float())


def _token_grid(latents: torch.Tensor, patch: tuple[int, int, int]) -> tuple[int, int, int]:
    return tuple(n // p for n, p in zip(latents.shape[2:], patch, strict=True))


def _patches(latents: torch.Tensor, patch: tuple[int, int, int]) -> torch.Tensor:
    """Return (B, tokens, channels * patch): a strided convolution is a linear layer over these."""
    (t, h, w), (pt, ph, pw) = _token_grid(latents, patch), patch
    x = latents.reshape(*latents.shape[:2], t, pt, h, ph, w, pw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def _unpatch(x: torch.Tensor, grid: tuple[int, int, int], patch: tuple[int, int, int]):
    x = x.unflatten(2, (*patch, -1)).unflatten(1, grid)
    return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
