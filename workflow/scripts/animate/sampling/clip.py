"""One clip: what it is, what it gives the models, and the frames that its segments read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from animate.ahead import ahead
from animate.errors import ClipError
from animate.model.image import encode_reference, read_reference
from animate.model.parts import load_part
from animate.model.text import load_prompt
from animate.parallel.device import Machine
from animate.sampling.conditions import SegmentFrames, check_lengths, read_frames, to_video
from animate.sampling.loop import SegmentSampler
from animate.sampling.models import Models
from animate.sampling.segments import Segment, plan_segments
from animate.sampling.settings import Job
from animate.video import VideoInfo, video_info

VIDEO_ROLES = ("pose", "face", "background", "mask")


@dataclass(frozen=True)
class Clip:
    """A job, the length, rate and size of its videos, and its segments."""

    job: Job
    info: VideoInfo
    segments: list[Segment]


def read_clip(job: Job) -> Clip:
    """Return the clip of a job.

    Raises:
        ClipError: its videos differ in length, or their size is none that can be sampled.
    """
    info = video_info(job.inputs["pose"])
    if info.frame_count < 1 or any(side % 16 for side in info.size):
        width, height = info.size
        raise ClipError(
            f"{job.inputs['pose']} has {info.frame_count} frames of {width}x{height}; it needs at"
            " least one, with sides that are multiples of 16: make the clip's inputs again"
        )
    check_lengths(_videos(job), info.frame_count)
    settings = job.settings
    return Clip(
        job,
        info,
        plan_segments(info.frame_count, settings.segment_frames, settings.conditioning_frames),
    )


@dataclass(frozen=True)
class Reference:
    """A clip's reference image (1, 3, h, w) in -1..1 and the image encoder's features of it."""

    image: torch.Tensor
    features: torch.Tensor


@torch.inference_mode()
def encode_clip_reference(clip: Clip, model: Path) -> Reference:
    """Return the clip's reference with its features, by the image encoder of a model's folder.

    The encoder runs on the CPU, in fp32, so this can be done while a GPU's model is loaded.
    """
    # Imported here because it takes seconds, which the ranks' loading does not wait for.
    from transformers import CLIPVisionModel

    path = clip.job.inputs["reference"]
    image = to_video(read_reference(path, *clip.info.size)[None])[:, :, 0]
    encoder = load_part(CLIPVisionModel, model / "image_encoder", torch.float32)
    return Reference(image, encode_reference(encoder, image))


@torch.inference_mode()
def segment_sampler(
    clip: Clip, models: Models, machine: Machine, reference: Reference | None
) -> SegmentSampler:
    """Return what samples the clip's segments; rank 0 has the reference for all."""
    job, world = clip.job, machine.world
    image = world.share_tensor(reference and reference.image, machine.device)
    features = world.share_tensor(reference and reference.features, machine.device)
    negative = job.inputs.get("negative_prompt")
    return SegmentSampler(
        models.transformer,
        models.codec,
        job.settings,
        image,
        features,
        load_prompt(job.inputs["prompt"]),
        None if negative is None else load_prompt(negative),
    )


def frames_of(clip: Clip, finished: int, machine: Machine) -> Iterator[SegmentFrames]:
    """Yield the frames of the segments after the first `finished`, each read one ahead.

    Rank 0 decodes the videos, the others get the frames.
    """
    videos, left = _videos(clip.job), clip.segments[finished:]
    world = machine.world
    own = ahead(read_frames(videos, left)) if world.leads else iter(())
    for _ in left:
        frames = next(own, None)
        if world.size > 1:
            frames = _shared(frames, list(videos), machine)
        yield frames


def _shared(frames: SegmentFrames | None, names: list[str], machine: Machine) -> SegmentFrames:
    arrays = {}
    for name in names:
        own = torch.from_numpy(getattr(frames, name)) if frames else None
        arrays[name] = machine.world.share_tensor(own, machine.device).numpy()
    return SegmentFrames(**arrays)


def _videos(job: Job) -> dict:
    return {role: job.inputs[role] for role in VIDEO_ROLES if role in job.inputs}
