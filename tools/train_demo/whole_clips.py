"""The VAE on whole clips at once, as training needs it.

diffusers runs it four frames at a time and keeps what each convolution saw. On the whole clip the
same arithmetic takes a quarter of the operations, and 2D convolutions over neighbouring frames'
channels, which GPUs do best. Videos and latents are (n, frames, h, w, channels) here.
"""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders import autoencoder_kl_wan as wan
from torch import nn

CHANNELS = 8


def arithmetic(device: torch.device | str) -> torch.dtype:
    """Return the type to compute in: CPUs have no fast bf16."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16


def encode(vae: AutoencoderKLWan, video: torch.Tensor) -> torch.Tensor:
    """Return latents (n, 1 + (F - 1) / 4, h / 8, w / 8, z) of a video (n, F, h, w, 3) in -1..1."""
    encoder = vae.encoder
    x = _conv(encoder.conv_in, video)
    for layer in encoder.down_blocks:
        x = _residual(layer, x) if isinstance(layer, wan.WanResidualBlock) else _down(layer, x)
    x = _middle(encoder.mid_block, x)
    x = _conv(encoder.conv_out, _norm(encoder.norm_out, x))
    return _conv(vae.quant_conv, x)[..., : vae.config.z_dim]


def decode(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Return the video of latents, not clamped."""
    decoder = vae.decoder
    x = _conv(decoder.conv_in, _conv(vae.post_quant_conv, latents))
    x = _middle(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = _residual(layer, x)
        for layer in block.upsamplers or ():
            x = _up(layer, x)
    return _conv(decoder.conv_out, _norm(decoder.norm_out, x))


@torch.no_grad()
def start_from_pictures(vae: AutoencoderKLWan) -> None:
    """Give a fresh VAE weights with which a film is what single pictures are.

    At first no convolution sees earlier frames, a latent is that of its last frame, and its four
    frames are decoded alike. So what is learned of pictures is not lost when films begin. The
    attention in the middle stays without effect: a picture of another size would upset it.
    """
    for layer in vae.modules():
        if isinstance(layer, wan.WanResample) and hasattr(layer, "time_conv"):
            same = torch.eye(layer.dim)
            nn.init.zeros_(layer.time_conv.weight)
            nn.init.zeros_(layer.time_conv.bias)
            copies = layer.time_conv.out_channels // layer.dim
            layer.time_conv.weight[:, :, -1, 0, 0] = same.repeat(copies, 1)
        elif isinstance(layer, wan.WanCausalConv3d) and layer.kernel_size == (3, 3, 3):
            layer.weight[:, :, :-1] = 0
            layer.weight[:, :, -1] *= 3**0.5
        elif isinstance(layer, wan.WanAttentionBlock):
            nn.init.zeros_(layer.proj.weight)
            nn.init.zeros_(layer.proj.bias)
            layer.requires_grad_(False)


def _conv(layer: wan.WanCausalConv3d, x: torch.Tensor) -> torch.Tensor:
    weight, reach = layer.weight.to(x.dtype), layer.kernel_size[0] - 1
    if x.shape[1] == 1:
        weight = weight[:, :, -1]
    else:
        x = _neighbours(x, reach)
        weight = weight.transpose(1, 2).flatten(1, 2)
    return _conv2d(x, weight, layer.bias, padding=layer._padding[0])


def _neighbours(x: torch.Tensor, reach: int) -> torch.Tensor:
    """Return (n, F, h, w, (reach + 1) c): each frame's channels behind those of earlier frames."""
    if not reach:
        return x
    padded = F.pad(x, (0,) * 6 + (reach, 0))
    return torch.cat([padded[:, k : k + x.shape[1]] for k in range(reach + 1)], dim=-1)


def _conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, **how) -> torch.Tensor:
    # GPUs are fast with multiples of 8 channels only; pictures have 3.
    outputs, inputs = weight.shape[:2]
    more = -outputs % CHANNELS, -inputs % CHANNELS
    frames = F.pad(x, (0, more[1])).flatten(0, 1).permute(0, 3, 1, 2)
    weight = F.pad(weight.to(x.dtype), (0, 0, 0, 0, 0, more[1], 0, more[0]))
    weight = weight.contiguous(memory_format=torch.channels_last)
    out = F.conv2d(frames, weight, F.pad(bias.to(x.dtype), (0, more[0])), **how)
    return out.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])[..., :outputs]


def _norm(layer: wan.WanRMS_norm, x: torch.Tensor) -> torch.Tensor:
    """Return what the norm and the activation after it make of x."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    scale = (layer.scale / length.clamp(min=1e-12)).to(x.dtype)
    return F.silu(x * scale * layer.gamma.flatten().to(x.dtype))


def _residual(block: wan.WanResidualBlock, x: torch.Tensor) -> torch.Tensor:
    plain = isinstance(block.conv_shortcut, nn.Identity)
    kept = x if plain else _conv(block.conv_shortcut, x)
    x = _conv(block.conv1, _norm(block.norm1, x))
    return kept + _conv(block.conv2, _norm(block.norm2, x))


def _middle(block: wan.WanMidBlock, x: torch.Tensor) -> torch.Tensor:
    # The attention between has no effect, see `start_from_pictures`.
    for layer in block.resnets:
        x = _residual(layer, x)
    return x


def _down(layer: wan.WanResample, x: torch.Tensor) -> torch.Tensor:
    conv = layer.resample[1]
    x = _conv2d(F.pad(x, (0, 0, 0, 1, 0, 1)), conv.weight, conv.bias, stride=2)
    if layer.mode == "downsample2d" or x.shape[1] == 1:
        return x
    taps = torch.cat([x[:, k : x.shape[1] - 2 + k : 2] for k in range(3)], dim=-1)
    return torch.cat((x[:, :1], _over_time(layer.time_conv, taps)), dim=1)


def _up(layer: wan.WanResample, x: torch.Tensor) -> torch.Tensor:
    if layer.mode == "upsample3d" and x.shape[1] > 1:
        rest = _over_time(layer.time_conv, _neighbours(x[:, 1:], 2))
        rest = rest.unflatten(-1, (2, -1)).permute(0, 1, 4, 2, 3, 5).flatten(1, 2)
        x = torch.cat((x[:, :1], rest), dim=1)
    n, frames, h, w, c = x.shape
    x = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2, -1)
    conv = layer.resample[1]
    return _conv2d(x.reshape(n, frames, 2 * h, 2 * w, c), conv.weight, conv.bias, padding=1)


def _over_time(layer: wan.WanCausalConv3d, taps: torch.Tensor) -> torch.Tensor:
    weight = layer.weight[..., 0, 0].transpose(1, 2).flatten(1)
    return F.linear(taps, weight.to(taps.dtype), layer.bias.to(taps.dtype))
