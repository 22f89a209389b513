"""What Wan2.2-Animate-14B samples a segment from: drawn poses and cropped faces."""

from dataclasses import dataclass

import torch

from animate.model.transformer import SamplingTransformer
from animate.model.vae import in_range
from animate.model.wan import SegmentConstants
from animate.sampling.conditions.frames import SegmentFrames, as_video
from animate.sampling.conditions.shared import Conditions
from animate.sampling.segments import bounce


@dataclass(frozen=True)
class PosedConditions(Conditions):
    """A clip of that model; its segments are `SegmentFrames`."""

    TRANSFORMER = SamplingTransformer
    DRIVER = "pose"
    VIDEOS = ("pose", "face", "background", "mask")
    FRAMES = SegmentFrames
    TURN = staticmethod(bounce)

    transformer: SamplingTransformer

    def guided(
        self,
        condition: torch.Tensor,
        driver: torch.Tensor,
        frames: SegmentFrames,
        prompt_embeds: torch.Tensor,
    ) -> SegmentConstants:
        """Return what the guided forwards share."""
        device = self.transformer.device
        return self.transformer.segment_constants(
            condition,
            driver,
            in_range(as_video(frames.face).to(device)),
            self.image_embeds.to(device),
            prompt_embeds,
            self.settings.pose_strength,
            self.settings.face_strength,
        )

    def unguided(
        self,
        guided: SegmentConstants,
        frames: SegmentFrames,
        negative_prompt_embeds: torch.Tensor,
    ) -> SegmentConstants:
        """Return what the unguided forwards share: black faces."""
        count = len(frames.face)
        return self.transformer.unguided_constants(guided, count, negative_prompt_embeds)
