"""What the sampler asks of a VAE: videos to standardised latents and back."""

from typing import Protocol

import torch


class VideoCodec(Protocol):
    """A VAE with 8x8 pixels and 4 frames (the first alone) per latent."""

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """Return latents (1, 16, 1 + F // 4, h / 8, w / 8) of a video (1, 3, F, h, w) in -1..1."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the video (1, 3, F, h, w) of latents, clamped to -1..1, fp32."""
