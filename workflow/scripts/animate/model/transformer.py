"""The transformer's forward, made for sampling.

The weights sit in diffusers' `WanAnimateTransformer3DModel`; the forward is ours. What the steps of
a segment share (conditioning tokens, keys and values of text, image and face) is computed once by
`segment_constants`; a step is then `forward`. The residual stream is fp32 whatever the weights'
type, as in the official model. Shapes: B batch, L tokens of this process, H heads, D head size,
C model width, T latent frames (the reference's first).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from diffusers import WanAnimateTransformer3DModel
from torch import nn

from animate.model.attention import attend_within_frames, attention, attention_with_repeats
from animate.model.ops import Ops
from animate.model.positions import rotary_table, timestep_sinusoids
from animate.model.token_sharding import NoSharding, TokenSharding

TEXT_TOKENS = 512
# Prompts of up to this many tokens share compiled code, the next as many as well.
TEXT_UNIT = 64
FACE_BATCH = 8

KeysValues = tuple[torch.Tensor, torch.Tensor]
WeightsHere = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class BlockConstants:
    """A block's keys and values: text and image (B, n, H, D), face (B, T, n, H, D) or None.

    Text's last key is that of padding; it stands for `padding` keys.
    """

    text: KeysValues
    padding: int
    image: KeysValues
    face: KeysValues | None


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


class SamplingBlock(nn.Module):
    """One transformer block and the face adapter after it, if any: what is sharded and compiled."""

    def __init__(self, block: nn.Module, face: nn.Module | None, ops: Ops):
        super().__init__()
        self.block = block
        self.face = face
        self.ops = ops
        self._compiled: Callable | None = None
        self._weights_here: WeightsHere = nullcontext

    def compile_forward(self) -> None:
        """Compile `forward`, on first use.

        What brings the weights stays outside, be it PyTorch's hooks or `prefetch_by`.
        """
        self._compiled = torch.compile(self._step, dynamic=False)

    def prefetch_by(self, weights_here: WeightsHere) -> None:
        """Enter the context of `weights_here()`, which brings the weights, in each use of them."""
        self._weights_here = weights_here

    def constants(
        self,
        text: torch.Tensor,
        padding: int,
        image: torch.Tensor | KeysValues,
        face: torch.Tensor,
    ) -> BlockConstants:
        """Return the block's keys and values of embedded text, image (B, n, C), face (B, T, n, C).

        Text ends with one token that stands for `padding` ones. `image` may be the keys and values
        of an earlier call.
        """
        with self._weights_here():
            return self._constants(text, padding, image, face)

    def _constants(self, text, padding: int, image, face) -> BlockConstants:
        attn = self.block.attn2
        heads = (attn.heads, -1)
        keys = attn.norm_k(attn.to_k(text)).unflatten(2, heads)
        values = attn.to_v(text).unflatten(2, heads)
        if torch.is_tensor(image):
            image_keys = attn.norm_added_k(attn.add_k_proj(image)).unflatten(2, heads)
            image = (image_keys, attn.add_v_proj(image).unflatten(2, heads))
        return BlockConstants((keys, values), padding, image, self._face_constants(face))

    def _face_constants(self, face: torch.Tensor) -> KeysValues | None:
        adapter = self.face
        if adapter is None:
            return None
        features = adapter.pre_norm_kv(face)
        keys = adapter.norm_k(adapter.to_k(features).unflatten(-1, (adapter.heads, -1)))
        return keys, adapter.to_v(features).unflatten(-1, (adapter.heads, -1))

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        constants: BlockConstants,
        rotary: tuple[torch.Tensor, torch.Tensor],
        length: int,
        first_token: int,
        frame_tokens: int,
    ) -> torch.Tensor:
        """Return the residual stream (B, L, C) fp32 after this block.

        `time` is (B, 6, C) fp32; of all `length` tokens this process's begin with `first_token`.
        """
        with self._weights_here():
            step = self._compiled or self._step
            return step(x, time, constants, rotary, length, first_token, frame_tokens)

    def _step(
        self, x, time, constants: BlockConstants, rotary, length: int, first_token, frame_tokens
    ) -> torch.Tensor:
        block = self.block
        modulation = (block.scale_shift_table.float() + time).chunk(6, dim=1)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation
        dtype = block.attn2.to_k.weight.dtype

        h = (_layer_norm(x, block.norm1) * (1 + scale_1) + shift_1).to(dtype)
        x = x + self._self_attention(h, rotary, length).float() * gate_1
        h = _layer_norm(x, block.norm2).to(dtype)
        x = x + self._cross_attention(h, constants).float()
        h = (_layer_norm(x, block.norm3) * (1 + scale_2) + shift_2).to(dtype)
        x = x + self.ops.feed_forward(block.ffn, h).float() * gate_2
        if self.face is not None:
            x = x + self._face_attention(x, constants.face, first_token, frame_tokens).float()
        return x

    def _self_attention(self, h, rotary, length: int) -> torch.Tensor:
        attn = self.block.attn1
        heads, ops = (attn.heads, -1), self.ops
        h = ops.qkv_input(h)
        q = ops.norm_rotate(attn.to_q(h), attn.norm_q, *rotary).unflatten(2, heads)
        k = ops.norm_rotate(attn.to_k(h), attn.norm_k, *rotary).unflatten(2, heads)
        v = attn.to_v(h).unflatten(2, heads)
        return attn.to_out[0](ops.attend(q, k, v, length).flatten(2))

    def _cross_attention(self, h, constants: BlockConstants) -> torch.Tensor:
        attn = self.block.attn2
        return attn.to_out[0](_attend_conditions(attn.to_q(h), attn.norm_q, constants))

    def _face_attention(self, x, face: KeysValues, first_token, frame_tokens) -> torch.Tensor:
        adapter = self.face
        h = _layer_norm(x, adapter.pre_norm_q).to(adapter.to_k.weight.dtype)
        q = adapter.norm_q(adapter.to_q(h).unflatten(2, (adapter.heads, -1)))
        out = attend_within_frames(q, *face, first_token, frame_tokens)
        return adapter.to_out(out.flatten(2))


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
    ) -> SegmentConstants:
        """Return what the steps of a segment share.

        Args:
            condition_latents: (B, 20, T, h, w), mask and latents of reference and background.
            pose_latents: (B, 16, T - 1, h, w).
            face: (B, 3, F, S, S) in -1..1, S the motion encoder's size (512).
            image_embeds: (B, 257, n), the image encoder's features of the reference.
            prompt_embeds: (B, up to 512, n); the model was trained on 512 tokens, zeros after the
                prompt.
        """
        grid = _token_grid(condition_latents, self.patch_size)
        tokens = self._condition_tokens(condition_latents, pose_latents)
        rotary = [table.to(self.device) for table in rotary_table(grid, self.head_size)]
        image = self.condition_embedder.image_embedder(image_embeds.to(self.dtype))
        text, motion = self._embed_text(prompt_embeds), self._encode_faces(face)
        return SegmentConstants(
            grid,
            self.sharding.first_token(tokens.shape[1]),
            self.sharding.shard(tokens),
            tuple(self.sharding.shard(table) for table in rotary),
            [block.constants(*text, image, motion) for block in self.blocks],
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
            block.constants(*text, old.image, face)
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
        x = self._head(x, time.head)
        return _unpatch(self.sharding.gather(x, length), constants.grid, self.patch_size)

    def _head(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        shift, scale = (self.scale_shift_table.float() + time[:, None]).chunk(2, dim=1)
        return _linear_fp32(_layer_norm(x, self.norm_out) * (1 + scale) + shift, self.proj_out)

    def _condition_tokens(self, condition: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        conv, pose_conv = self.patch_embedding, self.pose_patch_embedding
        condition = _patches(condition, self.patch_size).to(self.dtype)
        weight = conv.weight[:, self.latent_channels :].flatten(1)
        tokens = F.linear(condition, weight, conv.bias).float()
        pose = _patches(pose, self.patch_size).to(self.dtype)
        pose = F.linear(pose, pose_conv.weight.flatten(1), pose_conv.bias).float()
        tokens[:, -pose.shape[1] :] += pose
        return tokens

    def _embed_text(self, prompt_embeds: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return embedded text with one token of padding, and how many that one stands for."""
        length = prompt_embeds.shape[1]
        kept = -(-length // TEXT_UNIT) * TEXT_UNIT
        padded = F.pad(prompt_embeds, (0, 0, 0, kept + 1 - length))
        return self.condition_embedder.text_embedder(padded.to(self.dtype)), TEXT_TOKENS - kept


def _attend_conditions(
    q: torch.Tensor, norm: nn.RMSNorm, constants: BlockConstants
) -> torch.Tensor:
    """Return what normalised queries (B, L, C) find in text plus what they find in the image."""
    q = norm(q).unflatten(2, (constants.text[0].shape[2], -1))
    text = attention_with_repeats(q, *constants.text, constants.padding)
    return (text + attention(q, *constants.image)).flatten(2)


def _layer_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    weight, bias = (None if p is None else p.float() for p in (norm.weight, norm.bias))
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)


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
