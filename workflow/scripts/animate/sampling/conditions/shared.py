"""What the segments of a clip are conditioned on, whatever the model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import torch

from animate.config.job import FEATURES, NEGATIVE_PROMPT, PROMPT, SamplingJob
from animate.config.settings import SamplingSettings
from animate.errors import ClipError
from animate.model.image import load_features
from animate.model.text import load_prompt
from animate.model.vae import VideoCodec
from animate.model.wan import SegmentConstants, WanTransformer
from animate.sampling.conditions.frames import Frames, as_video
from animate.sampling.conditions.latents import given_video, reference_condition
from animate.sampling.segments import Turn

# The name of a part of a segment's work that ends.
OnPart = Callable[[str], None]


@dataclass(frozen=True)
class Conditions(ABC):
    """The models and a clip's constants; a model says what its steps share.

    `reference` is (1, 3, h, w) in -1..1, `image_embeds` (1, 257, n), the prompts (1, tokens, n);
    `negative_prompt_embeds` is needed when guidance_scale is above 1.
    """

    # The transformer's class, the roles of the video that moves the person and of all that segments
    # are read from, their frames, and how a clip that ends too early is played back and forth.
    TRANSFORMER: ClassVar[type[WanTransformer]]
    DRIVER: ClassVar[str]
    VIDEOS: ClassVar[tuple[str, ...]]
    FRAMES: ClassVar[Callable[..., Frames]]
    TURN: ClassVar[Turn]

    transformer: WanTransformer
    codec: VideoCodec
    settings: SamplingSettings
    reference: torch.Tensor
    image_embeds: torch.Tensor
    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None = None

    @classmethod
    def of_job(
        cls,
        job: SamplingJob,
        transformer: WanTransformer,
        codec: VideoCodec,
        reference: torch.Tensor,
        **more: torch.Tensor,
    ) -> Self:
        """Return those of a job, its inputs read.

        Raises:
            ClipError: an input cannot be read, or the transformer is of another kind.
        """
        if not isinstance(transformer, cls.TRANSFORMER):
            raise ClipError(
                f"the model in {job.model} is of another kind than the clip's inputs, which have a"
                f" {cls.DRIVER} video: make the clip's inputs again"
            )
        negative = job.inputs.get(NEGATIVE_PROMPT)
        return cls(
            transformer,
            codec,
            job.settings,
            reference,
            load_features(job.inputs[FEATURES]),
            load_prompt(job.inputs[PROMPT]),
            None if negative is None else load_prompt(negative),
            **more,
        )

    def branches(
        self,
        frames: Frames,
        previous: torch.Tensor | None,
        prompt_embeds: torch.Tensor | None,
        on_part: OnPart,
    ) -> list[SegmentConstants]:
        """Return what a segment's steps share, guided, and unguided if there is such a branch.

        `previous` and `prompt_embeds` are as in `SegmentSampler.sample`; `on_part` is called at the
        end of "encoding" and "constants".
        """
        device = self.transformer.device
        mask, parts = given_video(previous, frames, device)
        latents, driver = self.codec.encode_both(parts, [as_video(frames.driver)])
        given = torch.cat((mask.to(latents), latents), dim=1)
        condition = torch.cat((self._reference_condition, given), dim=2)
        on_part("encoding")
        prompt = self.prompt_embeds if prompt_embeds is None else prompt_embeds
        guided = self.guided(condition.to(device), driver.to(device), frames, prompt.to(device))
        both = [guided]
        if self.settings.guided:
            negative = self.negative_prompt_embeds.to(device)
            both.append(self.unguided(guided, frames, negative))
        on_part("constants")
        return both

    @abstractmethod
    def guided(
        self,
        condition: torch.Tensor,
        driver: torch.Tensor,
        frames: Any,
        prompt_embeds: torch.Tensor,
    ) -> SegmentConstants:
        """Return what the guided forwards share.

        `condition` (1, 20, 1 + T, h / 8, w / 8) is mask and latents of the reference and of what is
        given of the segment, `driver` (1, 16, T, h / 8, w / 8) the latents of `frames.driver`.
        """

    @abstractmethod
    def unguided(
        self, guided: SegmentConstants, frames: Any, negative_prompt_embeds: torch.Tensor
    ) -> SegmentConstants:
        """Return what the unguided forwards share."""

    @cached_property
    def _reference_condition(self) -> torch.Tensor:
        return reference_condition(self.codec, self.reference)
