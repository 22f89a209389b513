"""The VAE: its weights, and what the sampler asks of it, videos to latents and back."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderKLWan

from animate.errors import ClipError
from animate.weights.checkpoint import assign, check_names, empty_part
from animate.weights.storage.reading import read_tensors, stored_type
from animate.weights.storage.stored import some_names, stored_tensors


class VideoCodec(Protocol):
    """A VAE with 8x8 pixels and 4 frames (the first alone) per latent."""

    def encode(self, *parts: torch.Tensor) -> torch.Tensor:
        """Return latents (1, 16, 1 + F // 4, h / 8, w / 8), fp32, of a video of F frames.

        Its consecutive parts are (1, 3, n, h, w), on any device: pixels in uint8, or -1..1.
        """

    def encode_both(
        self, one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents of two videos of one shape, each given in parts as to `encode`."""

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the video of latents, (1, 3, n, h, w) at a time, clamped to -1..1, fp32."""


def in_range(video: torch.Tensor) -> torch.Tensor:
    """Return pixels in uint8 as fp32 in -1..1, on the same device; floats as they are."""
    if video.dtype != torch.uint8:
        return video
    # By a tensor: a GPU would multiply by the inverse of a number, and round other than a CPU.
    return video.float().div_(torch.tensor(127.5, device=video.device)).sub_(1)


def as_pixels(video: torch.Tensor) -> torch.Tensor:
    """Return a video in -1..1 as pixels in uint8, on the same device."""
    return ((video + 1) * 127.5).round().to(torch.uint8)


def load_vae(folder: Path, dtype: torch.dtype, device: torch.device) -> AutoencoderKLWan:
    """Return the VAE of a folder in `dtype`, its tensors read by threads to where they stay.

    Raises:
        ClipError: a tensor is missing or misshapen, or the files cannot be read.
    """
    stored = stored_tensors(folder)
    try:
        vae = empty_part(AutoencoderKLWan, folder)
    except Exception as error:
        raise ClipError(f"{folder} cannot be loaded ({error}): get the model again") from error
    expected = {name: parameter.shape for name, parameter in vae.named_parameters()}
    if absent := [name for name in expected if name not in stored]:
        raise ClipError(f"{folder} is not complete, missing {some_names(absent)}: get it again")
    own = [tensor for name, tensor in stored.items() if name in expected]
    for tensor in own:
        stored_type(tensor)
    check_names(str(folder), expected, {tensor.name: tensor.shape for tensor in own})
    for tensor, values in zip(own, read_tensors(own, device), strict=True):
        assign(vae, tensor.name, values.to(dtype))
    return vae.eval()
