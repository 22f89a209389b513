"""A block of the transformer: what is sharded, prefetched and compiled.

Shapes: B batch, L tokens of this process, H heads, D head size, C model width, T latent frames (the
reference's first).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from animate.model.attention import (
    HeadsAttention,
    attend_within_frames,
    attention,
    attention_with_repeats,
)
from animate.model.ops import Ops
from animate.model.token_sharding import AttendOver

KeysValues = tuple[torch.Tensor, torch.Tensor]
WeightsHere = Callable[[], AbstractContextManager]
# Takes a tensor and an axis of it.
Mark = Callable[[torch.Tensor, int], None]


class BlockNames(NamedTuple):
    """What a block of diffusers' calls its parts: attentions, norms before two parts, modulation.

    The defaults are those of `WanAnimateTransformer3DModel`.
    """

    self_attention: str = "attn1"
    cross_attention: str = "attn2"
    cross_norm: str = "norm2"
    feed_norm: str = "norm3"
    modulation: str = "scale_shift_table"


FIRST_NAMES = BlockNames()


@dataclass(frozen=True)
class BlockConstants:
    """A block's keys and values: text and image (B, n, H, D), face (B, T, n, H, D) or None.

    Text's last key is that of padding; it stands for `padding` keys. What the face adds is
    multiplied by `face_strength`.
    """

    text: KeysValues
    padding: int
    image: KeysValues
    face: KeysValues | None
    face_strength: float = 1.0

    def of_frames(self, first_token: int, frame_tokens: int) -> tuple["BlockConstants", int]:
        """Return these for up to a frame's tokens, which may lie in two frames.

        With them: how far into the first of these frames the tokens begin. Those after the last
        frame (padding of a shard) keep the last frame's keys.
        """
        if self.face is None:
            return self, first_token % frame_tokens
        first = min(first_token // frame_tokens, self.face[0].shape[1] - 1)
        lead = first_token % frame_tokens
        count = 2 if lead else 1
        keys, values = (x[:, first : first + count] for x in self.face)
        return replace(self, face=(keys, values)), lead


@dataclass(frozen=True)
class BlockConditions:
    """What every block's constants are made of, embedded.

    Text (B, n, C) ends with one token that stands for `padding` ones; image (B, n, C), face
    (B, T, n, C). The image may be a block's keys and values of it, of an earlier call.
    """

    text: torch.Tensor
    padding: int
    image: torch.Tensor | KeysValues
    face: torch.Tensor | None = None
    face_strength: float = 1.0


class SamplingBlock(nn.Module):
    """One transformer block and the face adapter after it, if any: what is sharded and compiled."""

    def __init__(
        self,
        block: nn.Module,
        face: nn.Module | None,
        ops: Ops,
        names: BlockNames = FIRST_NAMES,
    ):
        super().__init__()
        self.names = names
        self.block = block
        self.face = face
        self.ops = ops
        self._before, self._after = self._before_attention, self._after_attention
        self._keys_values, self._queries = self._keys_and_values, self._queries_alone
        self._mark: Mark | None = None
        self._weights_here: WeightsHere = nullcontext
        self._by_frames = False
        self._attend_over: AttendOver | None = None

    def compute_by_frames(self, attend_over: AttendOver | None) -> None:
        """Have one latent frame's tokens at a time taken: less memory.

        The residual stream is then overwritten by the block's result. `attend_over` as
        `TokenSharding` has it; without, all tokens attend at once.
        """
        self._by_frames, self._attend_over = True, attend_over

    def compile_forward(self, compiled: Callable[[Callable], Callable], mark: Mark | None) -> None:
        """Have `compiled` make faster functions of what comes before self-attention and after it.

        What brings the weights stays outside, be it PyTorch's hooks or `prefetch_by`. `mark`, where
        given, is told each tensor's axes that are as long as the video.
        """
        self._before, self._after = map(compiled, (self._before_attention, self._after_attention))
        parts = self._keys_and_values, self._queries_alone
        self._keys_values, self._queries = map(compiled, parts)
        self._mark = mark

    def prefetch_by(self, weights_here: WeightsHere) -> None:
        """Enter the context of `weights_here()`, which brings the weights, in each use of them."""
        self._weights_here = weights_here

    def constants(self, conditions: BlockConditions) -> BlockConstants:
        """Return the block's keys and values."""
        with self._weights_here():
            return self._constants(conditions)

    def _constants(self, given: BlockConditions) -> BlockConstants:
        attn = self._part("cross_attention")
        heads = (attn.heads, -1)
        keys = attn.norm_k(attn.to_k(given.text)).unflatten(2, heads)
        values = attn.to_v(given.text).unflatten(2, heads)
        image = given.image
        if torch.is_tensor(image):
            image_keys = attn.norm_added_k(attn.add_k_proj(image)).unflatten(2, heads)
            image = (image_keys, attn.add_v_proj(image).unflatten(2, heads))
        face = self._face_constants(given.face)
        return BlockConstants((keys, values), given.padding, image, face, given.face_strength)

    def _face_constants(self, face: torch.Tensor | None) -> KeysValues | None:
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
        constants: BlockConstants | BlockConditions,
        rotary: tuple[torch.Tensor, torch.Tensor],
        length: int,
        first_token: int,
        frame_tokens: int,
        way: HeadsAttention | None = None,
    ) -> torch.Tensor:
        """Return the residual stream (B, L, C) fp32 after this block.

        `time` is (B, 6, C) fp32; of all `length` tokens this process's begin with `first_token`.
        `way` computes self-attention where the model has its own. Constants are made of conditions
        where those are given.
        """
        with self._weights_here():
            if isinstance(constants, BlockConditions):
                constants = self._constants(constants)
            if self._by_frames:
                place = length, first_token, frame_tokens
                return self._forward_by_frames(x, time, constants, rotary, *place, way)
            self._mark_lengths(x, *rotary, *(constants.face or ()))
            q, k, v = self._before(x, time, rotary)
            attended = self.ops.attend(q, k, v, length, way)
            del q, k, v
            self._mark_lengths(attended)
            return self._after(x, attended, time, constants, first_token, frame_tokens)

    def _forward_by_frames(
        self,
        x,
        time,
        constants: BlockConstants,
        rotary,
        length: int,
        first_token,
        frame_tokens,
        way,
    ) -> torch.Tensor:
        parts = [slice(n, n + frame_tokens) for n in range(0, x.shape[1], frame_tokens)]
        keys_values = self._joined(self._keys_values, x, time, rotary, parts)
        # A model's own attention takes all queries at once.
        attend = attended = None
        if self._attend_over and way is None:
            attend = self._attend_over(*keys_values)
        else:
            (queries,) = self._joined(self._queries, x, time, rotary, parts)
            attended = self.ops.attend(queries, *keys_values, length, way)
            del queries
        del keys_values
        for part in parts:
            # Each part begins as far into a frame as the first: compiled code serves all.
            own, lead = constants.of_frames(first_token + part.start, frame_tokens)
            if attend:
                (queries,) = self._of_part(self._queries, x, time, rotary, part)
                attended_here = attend(queries)
                del queries
            else:
                attended_here = attended[:, part]
            inputs = x[:, part], attended_here
            self._mark_lengths(*inputs, *(own.face or ()))
            x[:, part] = self._after(*inputs, time, own, lead, frame_tokens)
        return x

    def _joined(self, made: Callable, x, time, rotary, parts: list[slice]) -> list[torch.Tensor]:
        """Return for all tokens what `made` gives for each part of them."""
        whole: list[torch.Tensor] = []
        for part in parts:
            tensors = self._of_part(made, x, time, rotary, part)
            whole = whole or [y.new_empty(y.shape[0], x.shape[1], *y.shape[2:]) for y in tensors]
            for all_tokens, tokens in zip(whole, tensors, strict=True):
                all_tokens[:, part] = tokens
        return whole

    def _of_part(self, made: Callable, x, time, rotary, part: slice) -> tuple[torch.Tensor, ...]:
        inputs = x[:, part], *(table[:, part] for table in rotary)
        self._mark_lengths(*inputs)
        return made(inputs[0], time, inputs[1:])

    def _mark_lengths(self, *tensors: torch.Tensor) -> None:
        if self._mark:
            for tensor in tensors:
                self._mark(tensor, 1)

    def _before_attention(self, x, time, rotary) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values (B, L, H, D) of self-attention."""
        h = self._attention_input(x, time)
        return self._query(h, rotary), *self._key_and_value(h, rotary)

    def _keys_and_values(self, x, time, rotary) -> tuple[torch.Tensor, torch.Tensor]:
        return self._key_and_value(self._attention_input(x, time), rotary)

    def _queries_alone(self, x, time, rotary) -> tuple[torch.Tensor]:
        return (self._query(self._attention_input(x, time), rotary),)

    def _attention_input(self, x, time) -> Any:
        shift, scale, *_ = self._modulation(time)
        h = (layer_norm(x, self.block.norm1) * (1 + scale) + shift).to(self._dtype)
        return self.ops.qkv_input(h)

    def _query(self, h, rotary) -> torch.Tensor:
        attn = self._part("self_attention")
        q = self.ops.norm_rotate(attn.to_q(h), attn.norm_q, *rotary)
        return q.unflatten(2, (attn.heads, -1))

    def _key_and_value(self, h, rotary) -> tuple[torch.Tensor, torch.Tensor]:
        attn = self._part("self_attention")
        heads = (attn.heads, -1)
        k = self.ops.norm_rotate(attn.to_k(h), attn.norm_k, *rotary).unflatten(2, heads)
        return k, attn.to_v(h).unflatten(2, heads)

    def _after_attention(
        self, x, attended, time, constants: BlockConstants, first_token: int, frame_tokens: int
    ) -> torch.Tensor:
        block, dtype = self.block, self._dtype
        _, _, gate_1, shift_2, scale_2, gate_2 = self._modulation(time)
        attn = self._part("self_attention")
        x = x + attn.to_out[0](attended.flatten(2)).float() * gate_1
        h = layer_norm(x, self._part("cross_norm")).to(dtype)
        x = x + self._cross_attention(h, constants).float()
        h = (layer_norm(x, self._part("feed_norm")) * (1 + scale_2) + shift_2).to(dtype)
        x = x + self.ops.feed_forward(block.ffn, h).float() * gate_2
        if self.face is not None:
            added = self._face_attention(x, constants.face, first_token, frame_tokens).float()
            # Compiled code is made for one strength; 1 costs nothing.
            strength = constants.face_strength
            x = x + (added if strength == 1 else added * strength)
        return x

    def _modulation(self, time: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self._part("modulation").float() + time).chunk(6, dim=1)

    def _part(self, part: str) -> Any:
        return getattr(self.block, getattr(self.names, part))

    @property
    def _dtype(self) -> torch.dtype:
        return self._part("cross_attention").to_k.weight.dtype

    def _cross_attention(self, h, constants: BlockConstants) -> torch.Tensor:
        attn = self._part("cross_attention")
        return attn.to_out[0](_attend_conditions(attn.to_q(h), attn.norm_q, constants))

    def _face_attention(self, x, face: KeysValues, first_token, frame_tokens) -> torch.Tensor:
        adapter = self.face
        h = layer_norm(x, adapter.pre_norm_q).to(adapter.to_k.weight.dtype)
        q = adapter.norm_q(adapter.to_q(h).unflatten(2, (adapter.heads, -1)))
        out = attend_within_frames(q, *face, first_token, frame_tokens)
        return adapter.to_out(out.flatten(2))


def _attend_conditions(
    q: torch.Tensor, norm: nn.RMSNorm, constants: BlockConstants
) -> torch.Tensor:
    """Return what normalised queries (B, L, C) find in text plus what they find in the image."""
    q = norm(q).unflatten(2, (constants.text[0].shape[2], -1))
    text = attention_with_repeats(q, *constants.text, constants.padding)
    return (text + attention(q, *constants.image)).flatten(2)


def layer_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Return the norm of `x` (..., C) fp32, with weight and bias in fp32."""
    weight, bias = (None if p is None else p.float() for p in (norm.weight, norm.bias))
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
