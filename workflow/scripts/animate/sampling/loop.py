"""The sampling loop: a clip's segments one after the other, each from noise to frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from animate.errors import ClipError
from animate.sampling.color import match_colors
from animate.sampling.conditions.frames import Frames
from animate.sampling.conditions.shared import Conditions, OnPart
from animate.sampling.overlap_color import match_overlap
from animate.sampling.segments import Segment
from animate.sampling.solvers import make_solver

LATENT_CHANNELS = 16

OnStep = Callable[[int], None]
# The number of a segment's frames before a piece, and the piece, (1, 3, n, h, w) fp32 in -1..1.
OnPiece = Callable[[int, torch.Tensor], None]


class NotFinite(Exception):
    """What it names, a step or the decoder, gave NaN or infinity."""


@dataclass(frozen=True)
class SegmentSampler:
    """Samples the segments of a clip, each on its `conditions`; `sample` makes one."""

    conditions: Conditions

    def sample(
        self,
        frames: Frames,
        previous: torch.Tensor | None,
        noise: torch.Tensor,
        draw: torch.Generator,
        on_step: OnStep = lambda step: None,
        on_piece: OnPiece = lambda first, piece: None,
        on_part: OnPart = lambda part: None,
        prompt_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the segment's last conditioning frames (1, 3, n, h, w) fp32 in -1..1.

        `previous` are the last sampled frames (1, 3, n, h, w), None where a shot begins;
        `noise` is (1, 16, 1 + T, h / 8, w / 8); a solver that adds noise draws it from `draw`.
        `on_step(k)` is called after k steps, `on_piece` with all frames as they are decoded, before
        it is known that they are numbers. `on_part` is called at the end of "encoding",
        "constants", "steps" and "decoding". `prompt_embeds` are the segment's, if it has its own.
        """
        # The constants are not kept, so that their memory is free while decoding.
        conditions = self.conditions
        latents = self._denoise(
            noise.to(conditions.transformer.device),
            conditions.branches(frames, previous, prompt_embeds, on_part),
            draw,
            on_step,
        )
        on_part("steps")
        pieces = conditions.codec.decode(latents[:, :, 1:])
        pieces = self._with_matched_colors(pieces, frames, previous)
        kept, first, tail, finite = conditions.settings.conditioning_frames, 0, None, True
        for piece in pieces:
            on_piece(first, piece)
            first += piece.shape[2]
            # Looked at in the end only, so that nothing waits for it.
            finite = torch.isfinite(piece).all() & finite
            tail = piece if tail is None else torch.cat((tail, piece), dim=2)
            tail = tail[:, :, -kept:]
        on_part("decoding")
        if not finite:
            raise NotFinite("decoding")
        return tail.clone()

    def _with_matched_colors(
        self,
        pieces: Iterable[torch.Tensor],
        frames: Frames,
        previous: torch.Tensor | None,
    ) -> Iterable[torch.Tensor]:
        match = self.conditions.settings.color_match
        if match == "overlap":
            return pieces if previous is None else match_overlap(pieces, previous, frames)
        if match == "off" or not match:
            return pieces
        return [match_colors(_joined(pieces), frames, self.conditions.reference, match)]

    def _denoise(
        self, latents: torch.Tensor, branches: list, draw: torch.Generator, on_step: OnStep
    ) -> torch.Tensor:
        model, s = self.conditions.transformer, self.conditions.settings
        solver = make_solver(s.solver, s.steps, s.shift, latents.device, s.timesteps)
        options = {"generator": draw} if s.solver == "lcm" else {}
        times = model.time_embedding(solver.timesteps)
        for index, timestep in enumerate(solver.timesteps):
            if index == s.guided_steps:
                branches = branches[:1]
            velocities = [model(latents, times.step(index), c) for c in branches]
            velocity = velocities[0]
            if len(velocities) > 1:
                velocity = velocities[1] + s.guidance_scale * (velocity - velocities[1])
            latents = solver.step(velocity, timestep, latents, return_dict=False, **options)[0]
            if not torch.isfinite(latents).all():
                raise NotFinite(f"step {index + 1}")
            on_step(index + 1)
        return latents


def _joined(pieces: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the pieces of a video as one, laid out as they are: sums round by the order."""
    frames = [piece[0].permute(1, 2, 3, 0) for piece in pieces]
    return torch.cat(frames).permute(3, 0, 1, 2)[None]


@torch.inference_mode()
def sample_segments(
    sampler: SegmentSampler,
    segments: list[Segment],
    frames: Iterable[Frames],
    finished: int = 0,
    tail: torch.Tensor | None = None,
    on_step: Callable[[int, int], None] = lambda segment, step: None,
    on_piece: Callable[[Segment, int, torch.Tensor], None] = lambda segment, first, piece: None,
    on_part: OnPart = lambda part: None,
    prompt_of: Callable[[Segment], torch.Tensor | None] = lambda segment: None,
) -> Iterator[tuple[Segment, torch.Tensor]]:
    """Yield each segment and its last conditioning frames (1, 3, n, h, w), fp32 in -1..1.

    The first `finished` segments are left out; `tail` are then the last conditioning frames of
    the last of them, or, with none finished, those that the clip goes on from. `frames` are those
    of the segments that are left, in order.
    `on_step(segment, step)` is called after each step, `on_piece(segment, first, piece)` with all
    frames of a segment as they are decoded, from number `first` on, before the segment is yielded.
    `on_part` is called when "frames" are there, and as `SegmentSampler.sample` has it.
    `prompt_of` returns a segment's prompt where it is not the clip's first.

    Raises:
        ClipError: a step or the decoder gave NaN or infinity; it names segment and step.
    """
    settings = sampler.conditions.settings
    generator = torch.Generator().manual_seed(settings.seed)
    height, width = sampler.conditions.reference.shape[-2:]
    coming = iter(frames)
    for segment in segments:
        # Drawn for finished segments too, so that a resumed run sees the same noise.
        noise = segment_noise(generator, len(segment.sources), height, width)
        if segment.index < finished:
            continue
        try:
            draw = step_noise(settings.seed, segment.index)
            told = partial(on_step, segment.index), partial(on_piece, segment)
            previous, own = tail if segment.overlap else None, next(coming)
            prompt = prompt_of(segment)
            on_part("frames")
            tail = sampler.sample(own, previous, noise, draw, *told, on_part, prompt)
        except NotFinite as error:
            raise ClipError(
                f"segment {segment.index + 1} is no longer made of numbers after {error}:"
                " check the model, its LoRAs and their weights, or use another precision"
            ) from error
        yield segment, tail


def segment_noise(
    generator: torch.Generator, segment_frames: int, height: int, width: int
) -> torch.Tensor:
    """Draw the next segment's noise (1, 16, 1 + T, h / 8, w / 8), fp32, on the CPU.

    It is drawn once per segment in order, so it depends neither on the device nor on the number
    of GPUs.
    """
    shape = (LATENT_CHANNELS, segment_frames // 4 + 2, height // 8, width // 8)
    return torch.randn(shape, generator=generator)[None]


def step_noise(seed: int, segment: int) -> torch.Generator:
    """Return the generator, on the CPU, of the noise that a segment's steps add.

    Each segment has its own, so that a resumed run draws what the first one would have.
    """
    (state,) = np.random.SeedSequence((seed, segment)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))
