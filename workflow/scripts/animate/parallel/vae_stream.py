"""The Wan 2.1 VAE's forward, streamed over time and split over rows.

The weights sit in diffusers' `AutoencoderKLWan`; the forward is ours. Activations are (T, h, w, C)
of one video, so norms run over adjacent values and convolutions get the layout that tensor cores
want; a convolution's past is laid before its input in the same pass that normalises it. Every
rank has a shard of the rows; convolutions take a halo of one row from each neighbour, and the
attention of the middle gathers keys and values, so the split changes only how a kernel may round.
"""

from collections.abc import Callable, Iterator
from itertools import repeat

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from torch import nn

from animate.parallel.rows import WholeRows

PAST = 2
Memory = dict[nn.Module, torch.Tensor]
# What is done to the activations before frames are made larger or smaller, and in the end.
Trim = Callable[[torch.Tensor], torch.Tensor]


def untrimmed(x: torch.Tensor) -> torch.Tensor:
    """Return `x`."""
    return x


class VaeStream:
    """Encoder and decoder of a VAE; frames pass in pieces that remember what came before."""

    def __init__(self, vae: AutoencoderKLWan, compiled: bool = False):
        self._vae = vae
        self._prepare: Callable = (
            torch.compile(_normalise, dynamic=True) if compiled else _normalise
        )
        for module in vae.modules():
            if isinstance(module, nn.Conv3d | nn.Conv2d):
                layout = torch.channels_last if module.weight.ndim == 4 else torch.channels_last_3d
                module.weight.data = module.weight.data.to(memory_format=layout)

    def encode(self, video: torch.Tensor, rows: WholeRows, piece: int) -> torch.Tensor:
        """Return the mean latents (T, h / 8, w / 8, 16) of the frames (F, h, w, 3) of a rank.

        `piece` latent frames are made at a time; memory grows with it, speed a little.
        """
        memory: Memory = {}
        return self._means(
            [
                self._after_down(self._down(part, memory, rows), memory, rows)
                for part in pieces(video, 4 * piece)
            ]
        )

    def decode(self, latents: torch.Tensor, rows: WholeRows, piece: int) -> Iterator[torch.Tensor]:
        """Yield the frames (n, h, w, 3) of a rank's latents (T, h / 8, w / 8, 16), in order."""
        memory: Memory = {}
        for part in pieces(self._given(latents), piece):
            yield self._up(self._before_up(part, memory, rows), memory, rows)

    def _down(
        self, x: torch.Tensor, memory: Memory, rows: WholeRows, trims: Iterator[Trim] | None = None
    ) -> torch.Tensor:
        """Return what the encoder's blocks make of frames, an eighth of their size."""
        encoder, trims = self._vae.encoder, trims or repeat(untrimmed)
        x = self._causal(x, encoder.conv_in, memory, rows)
        for layer in encoder.down_blocks:
            if hasattr(layer, "resample"):
                x = self._downsample(next(trims)(x), layer, memory, rows)
            else:
                x = self._residual(x, layer, memory, rows)
        return next(trims)(x)

    def _after_down(self, x: torch.Tensor, memory: Memory, rows: WholeRows) -> torch.Tensor:
        encoder = self._vae.encoder
        x = self._middle(x, encoder.mid_block, memory, rows)
        return self._causal(x, encoder.conv_out, memory, rows, encoder.norm_out)

    def _means(self, latents: list[torch.Tensor]) -> torch.Tensor:
        return _pointwise(torch.cat(latents), self._vae.quant_conv).chunk(2, dim=-1)[0]

    def _given(self, latents: torch.Tensor) -> torch.Tensor:
        return _pointwise(latents, self._vae.post_quant_conv)

    def _before_up(self, x: torch.Tensor, memory: Memory, rows: WholeRows) -> torch.Tensor:
        decoder = self._vae.decoder
        x = self._causal(x, decoder.conv_in, memory, rows)
        return self._middle(x, decoder.mid_block, memory, rows)

    def _up(
        self, x: torch.Tensor, memory: Memory, rows: WholeRows, trims: Iterator[Trim] | None = None
    ) -> torch.Tensor:
        """Return the frames that the decoder's blocks make, eight times as large as `x`."""
        decoder, trims = self._vae.decoder, trims or repeat(untrimmed)
        for block in decoder.up_blocks:
            for layer in block.resnets:
                x = self._residual(x, layer, memory, rows)
            for layer in block.upsamplers or ():
                x = self._upsample(next(trims)(x), layer, memory, rows)
        x = self._causal(x, decoder.conv_out, memory, rows, decoder.norm_out)
        return next(trims)(x)

    def _middle(self, x, middle: nn.Module, memory: Memory, rows: WholeRows) -> torch.Tensor:
        x = self._residual(x, middle.resnets[0], memory, rows)
        for attn, layer in zip(middle.attentions, middle.resnets[1:], strict=True):
            x = self._residual(_attention(x, attn, rows), layer, memory, rows)
        return x

    def _residual(self, x, layer: nn.Module, memory: Memory, rows: WholeRows) -> torch.Tensor:
        shortcut = layer.conv_shortcut
        kept = _pointwise(x, shortcut) if isinstance(shortcut, nn.Conv3d) else x
        x = self._causal(x, layer.conv1, memory, rows, layer.norm1)
        return self._causal(x, layer.conv2, memory, rows, layer.norm2).add_(kept)

    def _causal(
        self,
        x: torch.Tensor,
        conv: nn.Conv3d,
        memory: Memory,
        rows: WholeRows,
        norm: nn.Module | None = None,
    ) -> torch.Tensor:
        """Return `conv` of the normalised `x` after the frames before it, zeros at first."""
        past = memory.get(conv)
        if past is None:
            past = x.new_zeros(PAST, *x.shape[1:])
        x = torch.cat((past, x)) if norm is None else self._prepare(x, norm.gamma, past)
        memory[conv] = x[-PAST:].clone()
        return _convolve(x, conv, rows)

    def _downsample(self, x, layer: nn.Module, memory: Memory, rows: WholeRows) -> torch.Tensor:
        conv = layer.resample[1]
        # The original pads one row below and one column to the right.
        x = F.pad(rows.with_halo(x, 1, 0, 1), (0, 0, 0, 1)).permute(0, 3, 1, 2)
        x = F.conv2d(x, conv.weight, conv.bias, stride=2).permute(0, 2, 3, 1)
        if layer.mode != "downsample3d":
            return x
        past = memory.get(layer)
        memory[layer] = x[-1:].clone()
        if past is None:
            return x
        return _convolve_time(torch.cat((past, x)), layer.time_conv)

    def _upsample(self, x, layer: nn.Module, memory: Memory, rows: WholeRows) -> torch.Tensor:
        if layer.mode == "upsample3d":
            past = memory.get(layer)
            # The first frame stays one, and what follows does not see it.
            if past is None:
                memory[layer] = x.new_zeros(PAST, *x.shape[1:])
            else:
                x = torch.cat((past, x))
                memory[layer] = x[-PAST:].clone()
                x = _convolve_time(x, layer.time_conv).unflatten(-1, (2, -1))
                x = x.permute(0, 3, 1, 2, 4).flatten(0, 1)
        conv = layer.resample[1]
        x = x.repeat_interleave(2, 1).repeat_interleave(2, 2)
        x = rows.with_halo(x, 1, 1, 1).permute(0, 3, 1, 2)
        x = F.conv2d(x, conv.weight, conv.bias, padding=(0, 1))
        return x.permute(0, 2, 3, 1).contiguous()


def _normalise(x: torch.Tensor, gamma: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
    """Return `past` and after it SiLU of the RMS norm of `x` (T, h, w, C)."""
    values = F.normalize(x.float(), dim=-1).to(x.dtype)
    values = F.silu(values * x.shape[-1] ** 0.5 * gamma.flatten())
    return torch.cat((past, values))


def _convolve(x: torch.Tensor, conv: nn.Conv3d, rows: WholeRows) -> torch.Tensor:
    """Return a 3x3x3 convolution of frames (T + 2, h, w, C): (T, h, w, C')."""
    if type(rows) is WholeRows:
        padding = (1, 1)
    else:
        x, padding = rows.with_halo(x, 1, 1, 1), (0, 1)
    if x.device.type == "cpu":
        return _convolve_frames(x, conv, padding)
    out = F.conv3d(x.permute(3, 0, 1, 2)[None], conv.weight, conv.bias, padding=(0, *padding))
    return out[0].permute(1, 2, 3, 0).contiguous()


def _convolve_frames(x: torch.Tensor, conv: nn.Conv3d, padding: tuple[int, int]) -> torch.Tensor:
    """Return the same as a sum of convolutions of frames, 4 times faster on a CPU."""
    x, length = x.permute(0, 3, 1, 2), len(x) - PAST
    out = F.conv2d(x[:length], conv.weight[:, :, 0], conv.bias, padding=padding)
    for step in range(1, PAST + 1):
        weight = conv.weight[:, :, step]
        out += F.conv2d(x[step : step + length], weight, padding=padding)
    return out.permute(0, 2, 3, 1).contiguous()


def _convolve_time(x: torch.Tensor, conv: nn.Conv3d) -> torch.Tensor:
    out = F.conv3d(x.permute(3, 0, 1, 2)[None], conv.weight, conv.bias, stride=conv.stride)
    return out[0].permute(1, 2, 3, 0).contiguous()


def _pointwise(x: torch.Tensor, conv: nn.Module) -> torch.Tensor:
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def _attention(x: torch.Tensor, layer: nn.Module, rows: WholeRows) -> torch.Tensor:
    """Return `x` plus attention within each frame, over the rows of all ranks."""
    values = F.normalize(x.float(), dim=-1).to(x.dtype) * x.shape[-1] ** 0.5
    q, kv = _pointwise(values * layer.norm.gamma.flatten(), layer.to_qkv).split(
        (x.shape[-1], 2 * x.shape[-1]), dim=-1
    )
    k, v = rows.gather(kv, 1).flatten(1, 2).chunk(2, dim=-1)
    out = F.scaled_dot_product_attention(q.flatten(1, 2)[:, None], k[:, None], v[:, None])
    return x + _pointwise(out[:, 0].view(x.shape), layer.proj)


def pieces(x: torch.Tensor, length: int) -> Iterator[torch.Tensor]:
    """Yield the first frame of `x` alone, then `length` frames at a time."""
    yield x[:1]
    for start in range(1, len(x), length):
        yield x[start : start + length]
