"""The sampling loop: a clip's segments one after the other, each from noise to frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from animate.config.settings import SamplingSettings
from animate.errors import ClipError
from animate.model.transformer import SamplingTransformer
from animate.model.vae import VideoCodec
from animate.sampling.color import match_colors
from animate.sampling.conditions import (
    SegmentFrames,
    reference_condition,
    to_video,
    video_condition,
)
from animate.sampling.segments import Segment
from animate.sampling.solvers import make_solver

LATENT_CHANNELS = 16

OnStep = Callable[[int], None]


class NotFinite(Exception):
    """What it names, a step or the decoder, gave NaN or infinity."""


@dataclass(frozen=True)
class SegmentSampler:
    """The models and the clip's constants; `sample` makes one segment.

    `reference` is (1, 3, h, w) in -1..1, `image_embeds` (1, 257, n), the prompts (1, tokens, n);
    `negative_prompt_embeds` is needed when guidance_scale is above 1.
    """

    transformer: SamplingTransformer
    codec: VideoCodec
    settings: SamplingSettings
    reference: torch.Tensor
    image_embeds: torch.Tensor
    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None = None

    def sample(
        self,
        frames: SegmentFrames,
        previous: torch.Tensor | None,
        noise: torch.Tensor,
        on_step: OnStep = lambda step: None,
    ) -> torch.Tensor:
        """Return the segment's frames (1, 3, F, h, w) fp32 in -1..1.

        `previous` are the last sampled frames (1, 3, n, h, w), None where a shot begins;
        `noise` is (1, 16, 1 + T, h / 8, w / 8). `on_step(k)` is called after k steps.
        """
        # The constants are not kept, so that their memory is free while decoding.
        latents = self._denoise(
            noise.to(self.transformer.device), self._constants(frames, previous), on_step
        )
        video = self.codec.decode(latents[:, :, 1:])
        if not torch.isfinite(video).all():
            raise NotFinite("decoding")
        if self.settings.color_match:
            video = match_colors(video, frames, self.reference, self.settings.color_match)
        return video

    def _constants(self, frames: SegmentFrames, previous: torch.Tensor | None) -> list:
        """Return the constants of the guided branch, and of the unguided one if there is one."""
        model, device = self.transformer, self.transformer.device
        reference = reference_condition(self.codec, self.reference)
        condition = torch.cat((reference, video_condition(self.codec, previous, frames)), dim=2)
        pose = self.codec.encode(to_video(frames.pose))
        face = to_video(frames.face).to(device)
        constants = model.segment_constants(
            condition.to(device),
            pose.to(device),
            face,
            self.image_embeds.to(device),
            self.prompt_embeds.to(device),
        )
        if self.settings.guidance_scale <= 1:
            return [constants]
        negative = self.negative_prompt_embeds.to(device)
        return [constants, model.unguided_constants(constants, face.shape[2], negative)]

    def _denoise(self, latents: torch.Tensor, branches: list, on_step: OnStep) -> torch.Tensor:
        s = self.settings
        solver = make_solver(s.solver, s.steps, s.shift, latents.device)
        times = self.transformer.time_embedding(solver.timesteps)
        for index, timestep in enumerate(solver.timesteps):
            velocities = [self.transformer(latents, times.step(index), c) for c in branches]
            velocity = velocities[0]
            if len(velocities) > 1:
                velocity = velocities[1] + s.guidance_scale * (velocity - velocities[1])
            latents = solver.step(velocity, timestep, latents, return_dict=False)[0]
            if not torch.isfinite(latents).all():
                raise NotFinite(f"step {index + 1}")
            on_step(index + 1)
        return latents


@torch.inference_mode()
def sample_segments(
    sampler: SegmentSampler,
    segments: list[Segment],
    frames: Iterable[SegmentFrames],
    finished: int = 0,
    tail: torch.Tensor | None = None,
    on_step: Callable[[int, int], None] = lambda segment, step: None,
) -> Iterator[tuple[Segment, torch.Tensor]]:
    """Yield each segment and its frames (1, 3, F, h, w), fp32 in -1..1.

    The first `finished` segments are left out; `tail` are then the last conditioning frames of
    the last of them. `frames` are those of the segments that are left, in order.
    `on_step(segment, step)` is called after each step.

    Raises:
        ClipError: a step or the decoder gave NaN or infinity; it names segment and step.
    """
    settings = sampler.settings
    generator = torch.Generator().manual_seed(settings.seed)
    height, width = sampler.reference.shape[-2:]
    coming = iter(frames)
    for segment in segments:
        # Drawn for finished segments too, so that a resumed run sees the same noise.
        noise = segment_noise(generator, settings.segment_frames, height, width)
        if segment.index < finished:
            continue
        try:
            previous = tail if segment.overlap else None
            video = sampler.sample(next(coming), previous, noise, partial(on_step, segment.index))
        except NotFinite as error:
            raise ClipError(
                f"segment {segment.index + 1} is no longer made of numbers after {error}:"
                " check the model, its LoRAs and their weights, or use another precision"
            ) from error
        tail = video[:, :, -settings.conditioning_frames :].clone()
        yield segment, video


def segment_noise(
    generator: torch.Generator, segment_frames: int, height: int, width: int
) -> torch.Tensor:
    """Draw the next segment's noise (1, 16, 1 + T, h / 8, w / 8), fp32, on the CPU.

    It is drawn once per segment in order, so it depends neither on the device nor on the number
    of GPUs.
    """
    shape = (LATENT_CHANNELS, segment_frames // 4 + 2, height // 8, width // 8)
    return torch.randn(shape, generator=generator)[None]
