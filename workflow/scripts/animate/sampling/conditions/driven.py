"""What Wan-Animate-2 samples a segment from: the driving video itself."""

from dataclasses import dataclass, field
from typing import Self

import torch

from animate.config.job import DRIVING, DRIVING_FEATURES, DRIVING_PROMPT, SamplingJob
from animate.model.animate2.transformer import DrivenConstants, DrivenTransformer
from animate.model.image import load_features
from animate.model.text import load_prompt
from animate.model.vae import VideoCodec
from animate.model.wan import WanTransformer
from animate.sampling.conditions.frames import DrivenFrames
from animate.sampling.conditions.shared import Conditions
from animate.sampling.segments import mirror


@dataclass(frozen=True)
class DrivenConditions(Conditions):
    """A clip of that model; its segments are `DrivenFrames`.

    `driving_image_embeds` (1, 257, n) are the features of the clip's first driving frame,
    `driving_prompt_embeds` (1, tokens, n) those of the prompt for the driving video.
    """

    TRANSFORMER = DrivenTransformer
    DRIVER = DRIVING
    VIDEOS = (DRIVING,)
    FRAMES = DrivenFrames
    TURN = staticmethod(mirror)

    transformer: DrivenTransformer
    driving_image_embeds: torch.Tensor = field(kw_only=True)
    driving_prompt_embeds: torch.Tensor = field(kw_only=True)

    @classmethod
    def of_job(
        cls,
        job: SamplingJob,
        transformer: WanTransformer,
        codec: VideoCodec,
        reference: torch.Tensor,
        **more: torch.Tensor,
    ) -> Self:
        """Return those of a job; see `Conditions.of_job`."""
        more["driving_image_embeds"] = load_features(job.inputs[DRIVING_FEATURES])
        more["driving_prompt_embeds"] = load_prompt(job.inputs[DRIVING_PROMPT])
        return super().of_job(job, transformer, codec, reference, **more)

    def guided(
        self,
        condition: torch.Tensor,
        driver: torch.Tensor,
        frames: DrivenFrames,
        prompt_embeds: torch.Tensor,
    ) -> DrivenConstants:
        """Return what the guided forwards share, after the pass over the driving segment."""
        device = self.transformer.device
        clip = self.driving_image_embeds, self.driving_prompt_embeds
        driving = self.transformer.keep_driving(driver, *(x.to(device) for x in clip))
        return self.transformer.segment_constants(
            condition,
            self.image_embeds.to(device),
            prompt_embeds,
            driving,
            self.settings.log_scale,
        )

    def unguided(
        self, guided: DrivenConstants, frames: DrivenFrames, negative_prompt_embeds: torch.Tensor
    ) -> DrivenConstants:
        """Return what the unguided forwards share: the same driving video."""
        return self.transformer.unguided_constants(guided, negative_prompt_embeds)
