"""diffusers' own VAE as a codec: what ours is compared with."""

from collections.abc import Iterator

import torch
from diffusers import AutoencoderKLWan


class WanCodec:
    """`AutoencoderKLWan` with its latents standardised as the transformer knows them."""

    def __init__(self, vae: AutoencoderKLWan):
        self._vae = vae.eval().requires_grad_(False)
        shape = (1, -1, 1, 1, 1)
        self._mean = torch.tensor(vae.config.latents_mean, device=vae.device).view(shape)
        self._std = torch.tensor(vae.config.latents_std, device=vae.device).view(shape)

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """Return the mean latents of `video`, fp32; see `VideoCodec`."""
        video = video.to(self._vae.device, self._vae.dtype)
        latents = self._vae.encode(video).latent_dist.mode().float()
        return (latents - self._mean) / self._std

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the whole video of `latents`; see `VideoCodec`."""
        latents = latents.float() * self._std + self._mean
        yield self._vae.decode(latents.to(self._vae.dtype)).sample.float().clamp(-1, 1)
