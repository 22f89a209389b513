"""A whole job: models loaded, segments sampled or taken from the journal, the video written."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionModel

from animate.errors import ClipError
from animate.model.checkpoint import load_transformer, model_index
from animate.model.folder import RELIGHTING_LORA
from animate.model.image import encode_reference, read_reference
from animate.model.text import load_prompt
from animate.model.transformer import SamplingTransformer
from animate.model.vae import WanCodec
from animate.sampling.conditions import frame_reader, to_video
from animate.sampling.identity import job_key
from animate.sampling.journal import Journal, full_disk
from animate.sampling.loop import Painter, paint_clip
from animate.sampling.progress import Progress
from animate.sampling.segments import Segment, plan_segments
from animate.sampling.settings import Job
from animate.video import VideoInfo, VideoWriter, video_info

VIDEO_ROLES = ("pose", "face", "background", "mask")


@dataclass(frozen=True)
class Machine:
    """Where and in which type the transformer computes."""

    device: torch.device
    dtype: torch.dtype


def this_machine() -> Machine:
    """Return the GPU with bf16, or the CPU with fp32: bf16 on a CPU is slower, not faster."""
    if torch.cuda.is_available():
        return Machine(torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))), torch.bfloat16)
    return Machine(torch.device("cpu"), torch.float32)


def run_job(job: Job, machine: Machine, progress: Progress) -> None:
    """Sample a clip and write its video without sound; go on from the journal if there is one.

    The video has as many frames as the pose video, at the same rate. The journal is removed once
    the video is complete.

    Raises:
        ClipError: an input, the model or a LoRA cannot be used, or the disk is full.
    """
    info = video_info(job.inputs["pose"])
    _check_size(job, info)
    settings = job.settings
    segments = plan_segments(
        info.frame_count, settings.segment_frames, settings.conditioning_frames
    )
    journal = Journal(job.journal, job_key(job, f"{machine.device.type} {machine.dtype}"))
    finished = journal.count(len(segments))
    _remove_leftovers(job.output)
    progress.plan(len(segments), finished, settings.steps)
    try:
        with VideoWriter(job.output, info.size, info.frame_rate, "result") as video:
            for frames in _painted(job, machine, info, segments, journal, finished, progress):
                for frame in frames.numpy():
                    video.write(frame)
    except OSError as error:
        raise full_disk(error, job.output.parent, journal.count(len(segments))) from error
    journal.remove()
    progress.say(f"finished: {info.frame_count} frames in {job.output}")


@torch.inference_mode()
def load_painter(job: Job, machine: Machine, info: VideoInfo) -> Painter:
    """Load the models of a job and encode its reference; the image encoder is let go again."""
    model_index(job.model)
    reference = to_video(read_reference(job.inputs["reference"], *info.size)[None])[:, :, 0]
    encoder = CLIPVisionModel.from_pretrained(job.model / "image_encoder", dtype=torch.float32)
    image_embeds = encode_reference(encoder, reference)
    del encoder
    # As the official code: the VAE rounds visibly in bf16.
    vae = AutoencoderKLWan.from_pretrained(job.model / "vae", torch_dtype=torch.float32)
    weights = load_transformer(
        job.model / "transformer", machine.dtype, machine.device, lora_files(job)
    )
    negative = job.inputs.get("negative_prompt")
    return Painter(
        SamplingTransformer(weights),
        WanCodec(vae.to(machine.device)),
        job.settings,
        reference,
        image_embeds,
        load_prompt(job.inputs["prompt"]),
        None if negative is None else load_prompt(negative),
    )


def lora_files(job: Job) -> list[tuple[Path, float]]:
    """Return the LoRA files to merge and their factors, the relighting LoRA first."""
    path, wanted = job.model / RELIGHTING_LORA, job.settings.relighting_lora
    if wanted == "auto":
        wanted = job.mode == "replace" and path.is_file()
    if wanted and not path.is_file():
        raise ClipError(f"relighting_lora is true, but the model has no {path}")
    relighting = [(path, 1.0)] if wanted else []
    return relighting + [(lora.path, lora.weight) for lora in job.settings.loras]


def _painted(
    job: Job,
    machine: Machine,
    info: VideoInfo,
    segments: list[Segment],
    journal: Journal,
    finished: int,
    progress: Progress,
) -> Iterator[torch.Tensor]:
    """Yield every segment's new frames: the finished ones from the journal, then new ones."""
    tail = None
    for segment in segments[:finished]:
        frames, tail = journal.load(segment.index)
        yield frames
    if finished == len(segments):
        return
    progress.say(f"loading the model from {job.model}")
    painter = load_painter(job, machine, info)
    videos = {role: job.inputs[role] for role in VIDEO_ROLES if role in job.inputs}
    read = frame_reader(videos, info.frame_count)
    painted = paint_clip(painter, segments, read, finished, tail, progress.step)
    for segment, video in painted:
        frames = _pixels(video, segment)
        journal.store(segment.index, frames, video[:, :, -job.settings.conditioning_frames :].cpu())
        yield frames


def _pixels(video: torch.Tensor, segment: Segment) -> torch.Tensor:
    """Return the frames (F, h, w, 3) uint8 that a painted segment adds to the clip."""
    new = video[0, :, segment.overlap : segment.overlap + segment.new_frames]
    return ((new + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu()


def _remove_leftovers(output: Path) -> None:
    """Remove the unfinished videos of runs that were killed."""
    for path in output.parent.glob(f".{output.stem}.*.part{output.suffix}"):
        path.unlink(missing_ok=True)


def _check_size(job: Job, info: VideoInfo) -> None:
    if info.frame_count < 1 or any(side % 16 for side in info.size):
        width, height = info.size
        raise ClipError(
            f"{job.inputs['pose']} has {info.frame_count} frames of {width}x{height}; it needs at"
            " least one, with sides that are multiples of 16: make the clip's inputs again"
        )
