"""A whole job: models loaded, segments sampled or taken from the journal, the video written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from transformers import CLIPVisionModel

from animate.errors import ClipError
from animate.model.checkpoint import model_index
from animate.model.folder import RELIGHTING_LORA, relighting_lora
from animate.model.image import encode_reference, read_reference
from animate.model.parts import load_part
from animate.model.text import load_prompt
from animate.parallel.overlap import Background, reading_ahead
from animate.parallel.sampler import Load, load_sampler
from animate.parallel.vae_split import SplitCodec
from animate.parallel.world import ALONE, World
from animate.sampling.conditions import ReadFrames, SegmentFrames, frame_reader, to_video
from animate.sampling.identity import job_key
from animate.sampling.journal import Journal, full_disk
from animate.sampling.loop import Painter, paint_clip
from animate.sampling.progress import Progress
from animate.sampling.segments import Segment, plan_segments
from animate.sampling.settings import Job
from animate.sampling.stopping import stopping
from animate.video import VideoInfo, VideoWriter, video_info

VIDEO_ROLES = ("pose", "face", "background", "mask")


@dataclass(frozen=True)
class Machine:
    """Where and in which type the transformer computes, and which ranks share the clip."""

    device: torch.device
    dtype: torch.dtype
    world: World = ALONE


def this_machine(world: World = ALONE) -> Machine:
    """Return the GPU with bf16, or the CPU with fp32: bf16 on a CPU is slower, not faster."""
    if torch.cuda.is_available():
        return Machine(torch.device("cuda", world.local_rank), torch.bfloat16, world)
    return Machine(torch.device("cpu"), torch.float32, world)


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
    # The key leaves the ranks out: a clip may go on with another number of GPUs.
    journal = Journal(job.journal, job_key(job, f"{machine.device.type} {machine.dtype}"))
    if not machine.world.leads:
        finished = machine.world.share()
        progress.plan(len(segments), finished, settings.steps)
        for _ in _painted(job, machine, info, segments, finished, None, progress):
            pass
        return
    finished = machine.world.share(journal.count(len(segments)))
    _remove_leftovers(job.output)
    progress.plan(len(segments), finished, settings.steps)
    tail = None
    try:
        with (
            VideoWriter(job.output, info.size, info.frame_rate, "result") as video,
            Background() as writer,
        ):
            for segment in segments[:finished]:
                frames, tail = journal.load(segment.index)
                _write(video, frames)
            painted = _painted(job, machine, info, segments, finished, tail, progress)
            for segment, frames, tail in painted:
                writer.run(_keep, journal, video, segment, frames, tail)
    except OSError as error:
        raise full_disk(error, job.output.parent, journal.count(len(segments))) from error
    journal.remove()
    progress.say(f"finished: {info.frame_count} frames in {job.output}")


@torch.inference_mode()
def load_painter(
    job: Job, machine: Machine, info: VideoInfo, say: Callable[[str], None]
) -> Painter:
    """Load the models of a job and encode its reference; the image encoder is let go again."""
    model_index(job.model)
    device, world, settings = machine.device, machine.world, job.settings
    reference = to_video(read_reference(job.inputs["reference"], *info.size)[None])[:, :, 0]
    image_embeds = None
    if world.leads:
        encoder = load_part(CLIPVisionModel, job.model / "image_encoder", torch.float32)
        image_embeds = encode_reference(encoder, reference)
        del encoder
    image_embeds = world.share_tensor(image_embeds, device)
    branches = 2 if settings.guidance_scale > 1 else 1
    load = Load(*info.size, settings.segment_frames, branches, settings.precision)
    transformer = load_sampler(
        job.model / "transformer", machine.dtype, device, lora_files(job), world, load, say
    )
    vae = load_part(AutoencoderKLWan, job.model / "vae", machine.dtype).to(device)
    negative = job.inputs.get("negative_prompt")
    return Painter(
        transformer,
        SplitCodec(vae, world.size, compiled=device.type == "cuda"),
        settings,
        reference,
        image_embeds,
        load_prompt(job.inputs["prompt"]),
        None if negative is None else load_prompt(negative),
    )


def lora_files(job: Job) -> list[tuple[Path, float]]:
    """Return the LoRA files to merge and their factors, the relighting LoRA first."""
    path, wanted = relighting_lora(job.model), job.settings.relighting_lora
    if wanted == "auto":
        wanted = job.mode == "replace" and path is not None
    if wanted and path is None:
        raise ClipError(
            f"relighting_lora is true, but the model has no {job.model / RELIGHTING_LORA}"
        )
    relighting = [(path, 1.0)] if wanted else []
    return relighting + [(lora.path, lora.weight) for lora in job.settings.loras]


def _painted(
    job: Job,
    machine: Machine,
    info: VideoInfo,
    segments: list[Segment],
    finished: int,
    tail: torch.Tensor | None,
    progress: Progress,
) -> Iterator[tuple[Segment, torch.Tensor, torch.Tensor]]:
    """Yield every new segment, its new frames and its tail; `tail` is the last finished one's."""
    if finished == len(segments):
        return
    if finished:
        tail = machine.world.share_tensor(tail, machine.device)
    progress.say(f"loading the model from {job.model}")
    painter = load_painter(job, machine, info, progress.say)
    videos = {role: job.inputs[role] for role in VIDEO_ROLES if role in job.inputs}
    read = _shared_reader(
        reading_ahead(frame_reader(videos, info.frame_count), segments[finished:]),
        list(videos),
        machine,
    )
    with stopping(machine.world, progress.step) as on_step:
        for segment, video in paint_clip(painter, segments, read, finished, tail, on_step):
            new_tail = video[:, :, -job.settings.conditioning_frames :].cpu()
            yield segment, _pixels(video, segment), new_tail


def _shared_reader(read: ReadFrames, names: list[str], machine: Machine) -> ReadFrames:
    """Return `read` for all ranks: rank 0 decodes the videos, the others get the frames."""
    world = machine.world
    if world.size == 1:
        return read

    def shared(segment: Segment) -> SegmentFrames:
        frames = read(segment) if world.leads else None
        arrays = {}
        for name in names:
            own = torch.from_numpy(getattr(frames, name)) if frames else None
            arrays[name] = world.share_tensor(own, machine.device).numpy()
        return SegmentFrames(**arrays)

    return shared


def _keep(
    journal: Journal,
    video: VideoWriter,
    segment: Segment,
    frames: torch.Tensor,
    tail: torch.Tensor,
) -> None:
    journal.store(segment.index, frames, tail)
    _write(video, frames)


def _write(video: VideoWriter, frames: torch.Tensor) -> None:
    for frame in frames.numpy():
        video.write(frame)


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
