"""A bounded guard against the drift of colour and contrast over a long clip.

Each segment starts from frames sampled before it, so a small change of colour grows from segment
to segment. The guard moves a segment's mean and contrast per channel towards the reference image's
(animation) or, where the background is kept, towards the background's (replacement). What it
costs: one linear change of colour for the whole segment, so where it acts, neighbouring segments
can differ by a visible step of at most the bound; a few milliseconds.
"""

import torch

from animate.model.vae import in_range
from animate.sampling.conditions.frames import MASK_THRESHOLD, Frames, as_video

Statistics = tuple[torch.Tensor, torch.Tensor]


def match_colors(
    sampled: torch.Tensor,
    frames: Frames,
    reference: torch.Tensor,
    bound: float,
) -> torch.Tensor:
    """Return sampled frames (1, 3, F, h, w) with their colours moved towards what they should be.

    `reference` is (1, 3, h, w); all are in -1..1. `bound` limits the change of a channel's mean, as
    a part of the whole range, and of its contrast, as a factor 1 - bound to 1 + bound.
    """
    if frames.background is None:
        return move_colors(sampled, statistics(sampled), statistics(reference), bound)
    kept = torch.from_numpy(frames.mask[..., 0] <= MASK_THRESHOLD).to(sampled.device)
    if not kept.any():
        return sampled
    wanted = in_range(as_video(frames.background)[0, :, kept.cpu()].to(sampled.device))
    return move_colors(sampled, statistics(sampled[0, :, kept]), statistics(wanted), bound)


def statistics(pixels: torch.Tensor) -> Statistics:
    """Return mean and standard deviation (3) of pixels (3, N) or (1, 3, ...)."""
    pixels = pixels.flatten(2)[0] if pixels.ndim > 2 else pixels
    return pixels.mean(dim=1), pixels.std(dim=1, correction=0)


def move_colors(
    video: torch.Tensor, current: Statistics, wanted: Statistics, bound: float
) -> torch.Tensor:
    """Return `video` (1, 3, F, h, w) in -1..1 with its statistics moved, within the bound."""
    (mean, deviation), (wanted_mean, wanted_deviation) = current, wanted
    shift = (wanted_mean.to(mean) - mean).clamp(-2 * bound, 2 * bound)
    gain = wanted_deviation.to(mean) / deviation.clamp(min=1e-6)
    gain = gain.clamp(1 - bound, 1 + bound)
    mean, shift, gain = (x.view(1, 3, 1, 1, 1) for x in (mean, shift, gain))
    return ((video - mean) * gain + mean + shift).clamp(-1, 1)
