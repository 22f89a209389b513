"""A whole job: a clip's segments taken from the journal or sampled, and its video written."""

import time
from dataclasses import astuple
from typing import Any

import torch

from animate.config.job import PROMPT, SamplingJob, seconds_of_prompts
from animate.config.lora_choice import LoraFile
from animate.devices.arrivals import Arrivals
from animate.devices.machine import Machine
from animate.journal.joins import Joins
from animate.journal.key import input_hashes, job_key, transformer_record
from animate.journal.record import describe, write_record
from animate.journal.sink import Sink, open_sink
from animate.model.text import load_prompt
from animate.model.vae import as_pixels
from animate.prefetch import begin
from animate.sampling.clip import (
    SegmentedClip,
    first_encoded,
    frames_before,
    frames_of,
    read_clip,
    segment_sampler,
)
from animate.sampling.loop import sample_segments
from animate.sampling.models import KeptModels, job_workload
from animate.sampling.progress import Progress
from animate.sampling.segments import Segment
from animate.sampling.stopping import stopping
from animate.sampling.weights import job_loras, job_transformer
from animate.video.framed import Part, shown_part
from animate.video.reference import load_reference


def run_job(
    job: SamplingJob,
    machine: Machine,
    progress: Progress,
    models: KeptModels | None = None,
) -> None:
    """Sample a clip and write its video without sound; go on from the journal if there is one.

    `models` are the machine's, which stay loaded for later clips.

    The video has as many frames as the pose video, at the same rate. The journal has them whole,
    whatever part of them the video shows, and stays for the rule that finishes the clip to remove.

    Raises:
        ClipError: an input, the model or a LoRA cannot be used, or the disk is full.
    """
    clip = read_clip(job)
    loras = job_loras(job)
    models = models or KeptModels(machine)
    if not machine.world.leads:
        _sample(clip, loras, machine, progress, None, models)
        return
    hashes = input_hashes(job)
    key = job_key(job, loras, hashes, clip.shots, clip.prompts)
    lengths = [segment.new_frames for segment in clip.segments]
    joins = Joins([segment.overlap for segment in clip.segments], job.settings.overlap_blend)
    part = _part(clip)
    where = job.journal, key, job.output, clip.info, lengths, progress.say, joins, part
    with open_sink(*where) as sink:
        _sample(clip, loras, machine, progress, sink, models)
    progress.stage("video")
    read = {role: {"path": str(job.inputs[role]), "sha256": hashes[role]} for role in hashes}
    read |= transformer_record(job)
    write_record(job.record, key, read, progress.seconds, sink.made_by, _framing(clip, part))
    progress.say(f"finished: {clip.info.frame_count} frames in {job.output}")


def _part(clip: SegmentedClip) -> Part:
    """Return the part of its frames that a clip's video shows."""
    if clip.job.cut_to is None:
        return Part(0, 0, *clip.info.size)
    return shown_part(load_reference(clip.job.cut_to).shape[1::-1], clip.info.size)


def _framing(clip: SegmentedClip, part: Part) -> dict[str, Any] | None:
    """Return for the record what a video shows of its frames; nothing when that is all."""
    if part.size == clip.info.size:
        return None
    return {"size": clip.info.size, "part": astuple(part)}


def _sample(
    clip: SegmentedClip,
    loras: list[LoraFile],
    machine: Machine,
    progress: Progress,
    sink: Sink | None,
    kept: KeptModels,
) -> None:
    """Sample the segments that are not finished; rank 0 puts them into its sink."""
    job, world = clip.job, machine.world
    finished = world.share(sink and sink.finished)
    progress.plan(len(clip.segments), finished, job.settings.step_count)
    if finished == len(clip.segments):
        return
    for role, second in seconds_of_prompts(job).items():
        progress.say(_reader(clip, role, second))
    if finished:
        tail = world.share_tensor(sink and sink.tail, machine.device)
    else:
        tail = frames_before(clip)
    # The driver takes its time to answer, and is asked while the clip is sampled.
    described = begin(describe, machine) if sink else None
    # Read while the model is loaded.
    frames = frames_of(clip, finished, machine)
    weights = machine.staged or job.model
    progress.stage("imports and inputs")
    longest = max(len(segment.sources) for segment in clip.segments)
    workload = job_workload(job, clip.info.size, longest)
    own = job_transformer(job, machine.staged)
    first = first_encoded(clip, finished, machine.device)
    models = kept.get(weights, loras, workload, progress.say, own, first)
    progress.stage("models")
    sampler = segment_sampler(clip, models)
    arrivals = Arrivals(sink.add) if sink else None

    def on_piece(segment: Segment, first: int, piece: torch.Tensor) -> None:
        if arrivals:
            arrivals.send(_shown_frames(segment, first, piece))

    def on_part(part: str) -> None:
        # Else what one part has begun would count as the next one's.
        if machine.device.type == "cuda":
            torch.cuda.synchronize(machine.device)
        progress.part(part)

    def prompt_of(segment: Segment) -> torch.Tensor | None:
        role = clip.prompts[segment.index]
        return None if role == PROMPT else load_prompt(job.inputs[role])

    with stopping(world, progress.step) as on_step:
        begun = time.monotonic()
        for segment, last in sample_segments(
            sampler, clip.segments, frames, finished, tail, on_step, on_piece, on_part, prompt_of
        ):
            if sink:
                arrivals.wait()
                seconds = {"seconds": round(time.monotonic() - begun, 2)}
                sink.put(last.cpu(), described.result() | models.made_by | seconds)
            progress.part("storing")
            progress.parts(segment.index)
            begun = time.monotonic()
    progress.stage("segments")


def _reader(clip: SegmentedClip, role: str, second: float) -> str:
    """Return the line that says from which segment on a prompt is read."""
    if role in clip.prompts:
        first = clip.prompts.index(role) + 1
        return f"segment {first} is the first with the prompt of second {second:g}"
    return (
        f"the prompt of second {second:g} is read by no segment, as none begins while it holds;"
        " a smaller segment_frames makes more of them"
    )


def _shown_frames(segment: Segment, first: int, piece: torch.Tensor) -> torch.Tensor:
    """Return the frames (n, h, w, 3) uint8 of a piece of a segment that lie within the clip.

    The piece is (1, 3, n, h, w) in -1..1, from the segment's frame `first` on.
    """
    return as_pixels(piece[0, :, : max(0, segment.end - first)]).permute(1, 2, 3, 0)
