"""One clip: what it is, what it gives the models, and the frames that its segments read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from animate.config.job import (
    BEFORE,
    PROMPT,
    RESULT,
    TIMELINE,
    SamplingJob,
    seconds_of_prompts,
)
from animate.config.timed_prompts import prompt_at
from animate.devices.machine import Machine
from animate.errors import ClipError
from animate.model.image import reference_video
from animate.model.vae import in_range
from animate.prefetch import prefetch
from animate.sampling.conditions.frames import Frames, as_video, check_lengths, read_frames
from animate.sampling.conditions.kinds import conditions_of
from animate.sampling.conditions.latents import nothing
from animate.sampling.conditions.shared import Conditions
from animate.sampling.loop import SegmentSampler
from animate.sampling.models import Models
from animate.sampling.segments import Segment, plan_segments, sampled_shots
from animate.video.files import VideoInfo, video_info
from animate.video.last_frames import load_last_frames
from animate.video.timeline import Timeline

# Frames in which the VAE meets all shapes of its work: one alone, and twice four after others.
EVERY_SHAPE = 9


@dataclass(frozen=True)
class SegmentedClip:
    """A job, the length, rate and size of its videos, its shots' first frames and its segments.

    `prompts` are the roles of the prompts that the segments read.
    """

    job: SamplingJob
    conditions: type[Conditions]
    info: VideoInfo
    shots: tuple[int, ...]
    segments: list[Segment]
    prompts: list[str]


def read_clip(job: SamplingJob) -> SegmentedClip:
    """Return the clip of a job.

    Raises:
        ClipError: its videos and timeline differ in length, or their size is none that can be
            sampled.
    """
    conditions = conditions_of(job)
    driver = job.inputs[conditions.DRIVER]
    info = video_info(driver)
    if info.frame_count < 1 or any(side % 16 for side in info.size):
        width, height = info.size
        raise ClipError(
            f"{driver} has {info.frame_count} frames of {width}x{height}; it needs at"
            " least one, with sides that are multiples of 16: make the clip's inputs again"
        )
    check_lengths(_videos(job, conditions), conditions.DRIVER, info.frame_count)
    settings = job.settings
    timeline = _timeline(job, conditions.DRIVER, info.frame_count)
    shots = sampled_shots(timeline.shots, info.frame_count, settings.cuts) if timeline else (0,)
    lengths = info.frame_count, settings.segment_frames, settings.conditioning_frames
    how = settings.segment_fit, bool(settings.continue_from), conditions.TURN
    segments = plan_segments(*lengths, shots, *how)
    return SegmentedClip(job, conditions, info, shots, segments, _prompts(job, segments, info))


def _timeline(job: SamplingJob, driver: str, frame_count: int) -> Timeline | None:
    """Return the timeline of a clip that has one."""
    if TIMELINE not in job.inputs:
        return None
    timeline = Timeline.from_json(job.inputs[TIMELINE])
    if timeline.frame_count != frame_count:
        raise ClipError(
            f"{job.inputs[TIMELINE]} has {timeline.frame_count} frames but the {driver} video"
            f" {frame_count}: make the clip's inputs again"
        )
    return timeline


def _prompts(job: SamplingJob, segments: list[Segment], info: VideoInfo) -> list[str]:
    """Return the role of the prompt of each segment of a clip."""
    timed = tuple((second, role) for role, second in seconds_of_prompts(job).items())
    # The frame that is nearest to a second counts as its own.
    begins = [segment.sources[segment.overlap] + 0.5 for segment in segments]
    return [prompt_at(float(frame / info.frame_rate), PROMPT, timed) for frame in begins]


@torch.inference_mode()
def segment_sampler(clip: SegmentedClip, models: Models) -> SegmentSampler:
    """Return what samples the clip's segments."""
    reference = reference_video(clip.job.inputs["reference"], *clip.info.size)
    return SegmentSampler(
        clip.conditions.of_job(clip.job, models.transformer, models.codec, reference)
    )


def first_encoded(clip: SegmentedClip, finished: int, device: torch.device) -> torch.Tensor | None:
    """Return a video (1, 3, F, h, w) that the VAE can encode before any frames are there.

    It is what is given of the segment after the first `finished`, where that is nothing. Else it
    has a few frames, for the first work of a GPU; a CPU has none.
    """
    segment, (width, height) = clip.segments[finished], clip.info.size
    length = len(segment.sources)
    if segment.overlap or "background" in clip.job.inputs:
        if device.type != "cuda":
            return None
        length = min(length, EVERY_SHAPE)
    return nothing(length, height, width, device)


def frames_of(clip: SegmentedClip, finished: int, machine: Machine) -> Iterator[Frames]:
    """Return an iterator of the frames of the segments after the first `finished`.

    Rank 0 decodes the videos, one segment ahead and the first one from now on; the others get the
    frames.
    """
    videos, left = _videos(clip.job, clip.conditions), clip.segments[finished:]
    kind, leads = clip.conditions.FRAMES, machine.world.leads
    own = prefetch(read_frames(videos, left, _before(clip.job), kind)) if leads else iter(())
    if machine.world.size == 1:
        return own
    return (kind(**_shared(next(own, None), list(videos), machine)) for _ in left)


def frames_before(clip: SegmentedClip) -> torch.Tensor | None:
    """Return the frames (1, 3, n, h, w) in -1..1 that a clip goes on from, if it does.

    Raises:
        ClipError: they are of another size than the clip's, or of another number.
    """
    frames = _before(clip.job).get(RESULT)
    if frames is None:
        return None
    (width, height), count = clip.info.size, clip.job.settings.conditioning_frames
    if frames.shape != (count, height, width, 3):
        raise ClipError(
            f"{clip.job.inputs[BEFORE]} has {len(frames)} frames of {frames.shape[2]}x"
            f"{frames.shape[1]}, but this clip goes on from {count} of {width}x{height}:"
            " delete it and run again"
        )
    return in_range(as_video(frames))


def _before(job: SamplingJob) -> dict[str, np.ndarray]:
    return load_last_frames(job.inputs[BEFORE]) if BEFORE in job.inputs else {}


def _shared(frames: Frames | None, names: list[str], machine: Machine) -> dict[str, np.ndarray]:
    """Return the videos of rank 0's frames, by their names, on every rank."""
    arrays = {}
    for name in names:
        own = torch.from_numpy(getattr(frames, name)) if frames else None
        arrays[name] = machine.world.share_tensor(own, machine.device).numpy()
    return arrays


def _videos(job: SamplingJob, conditions: type[Conditions]) -> dict[str, Path]:
    return {role: job.inputs[role] for role in conditions.VIDEOS if role in job.inputs}
