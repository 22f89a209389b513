"""The latents and masks that segments of all models are sampled from.

Shapes: F frames, h and w pixels, T = 1 + (F - 1) / 4 latent frames.
"""

import numpy as np
import torch

from animate.matte.grid import CELL, cells
from animate.model.vae import VideoCodec
from animate.sampling.conditions.frames import (
    MASK_THRESHOLD,
    Frames,
    as_video,
)


def reference_condition(codec: VideoCodec, reference: torch.Tensor) -> torch.Tensor:
    """Return mask and latents (1, 20, 1, h / 8, w / 8) of the reference (1, 3, h, w) in -1..1."""
    latents = codec.encode(reference[:, :, None])
    return torch.cat((torch.ones_like(latents[:, :4]), latents), dim=1)


def given_video(
    previous: torch.Tensor | None,
    frames: Frames,
    device: torch.device,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return what is given of the segment itself: its mask (1, 4, T, h / 8, w / 8) and its parts.

    The parts are what a `VideoCodec` encodes: the frames sampled before, `previous`
    (1, 3, n, h, w) in -1..1 if any, and in replacement the background outside the person's mask.
    What is not given is made on `device`.
    """
    length, height, width = frames.driver.shape[:3]
    known = 0 if previous is None else previous.shape[2]
    if frames.background is None:
        rest = nothing(length, height, width, device)
        mask = torch.zeros(length, height // CELL, width // CELL)
    else:
        rest = as_video(frames.background)
        mask = background_mask(frames.mask)
    if known:
        mask[:known] = 1
    return fold_mask(mask), [*([previous] if known else []), rest[:, :, known:]]


def nothing(length: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return the video (1, 3, length, height, width) that stands for nothing: zeros, one in memory.

    It is fp32 in -1..1.
    """
    return torch.zeros(1, 1, 1, 1, 1, device=device).expand(1, 3, length, height, width)


def background_mask(mask: np.ndarray) -> torch.Tensor:
    """Return 1 where the background is kept, (F, h / 8, w / 8), of a person mask (F, h, w, 3).

    The mask is uint8, the person above 127; each 8x8 cell takes its first pixel.
    """
    return torch.from_numpy(cells(mask[..., 0]) <= MASK_THRESHOLD).float()


def fold_mask(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask (F, h, w) with a latent frame's four frames as channels: (1, 4, T, h, w).

    The first frame, which has a latent of its own, counts four times.
    """
    repeated = torch.cat((mask[:1].expand(4, -1, -1), mask[1:]))
    return repeated.unflatten(0, (-1, 4)).transpose(0, 1)[None]
