"""What Wan-Animate-2 samples a segment from: the driving video itself."""

from dataclasses import dataclass, field

import torch

from animate.model.animate2.transformer import DrivenConstants, DrivenTransformer
from animate.sampling.conditions.frames import DrivenFrames
from animate.sampling.conditions.shared import Conditions


@dataclass(frozen=True)
class DrivenConditions(Conditions):
    """A clip of that model; its segments are `DrivenFrames`.

    `driving_image_embeds` (1, 257, n) are the features of the clip's first driving frame,
    `driving_prompt_embeds` (1, tokens, n) those of the prompt for the driving video.
    """

    transformer: DrivenTransformer
    driving_image_embeds: torch.Tensor = field(kw_only=True)
    driving_prompt_embeds: torch.Tensor = field(kw_only=True)

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
            condition, self.image_embeds.to(device), prompt_embeds, driving
        )

    def unguided(
        self, guided: DrivenConstants, frames: DrivenFrames, negative_prompt_embeds: torch.Tensor
    ) -> DrivenConstants:
        """Return what the unguided forwards share: the same driving video."""
        return self.transformer.unguided_constants(guided, negative_prompt_embeds)
