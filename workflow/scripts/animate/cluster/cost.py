"""What a clip costs in time, memory and disk, from constants that were measured.

GPU constants are those of one NVIDIA H200 (benchmarks/README.md), CPU constants those of
benchmarks/preprocessing.md. What is not measured says so.
"""

import math
from dataclasses import dataclass

from animate.cluster.work import Work
from animate.config.models.declared import Speed
from animate.config.models.known import MODELS, SMALL_MODELS
from animate.config.models.posed import WAN_ANIMATE

# One segment of 77 frames at 1280x720: its tokens, the seconds that fp8 takes off a forward, and
# those of the VAE for one video. Seconds of a forward are the model's own.
TOKENS, PIXEL_FRAMES = 75_600, 1280 * 720 * 77
FP8_SAVES = 11.20 - 10.10
# Attention in 8 bits as a part of what cuDNN's takes, by their rates on an H200.
ATTENTION_8 = 574 / 970
ENCODE, DECODE = 1.16, 1.86
# Two GPUs are 0.97 x 2 times as fast, and this much is taken off again at each doubling: with four,
# 0.94 was measured with FSDP2 and 0.97 with replicated weights.
EFFICIENCY = 0.97
# From the command to the first step: 23 to 33 s were measured with a local disk, a prepared copy
# that was not in memory, and compiled kernels; with SLOW_START, a shared disk that reads 35 GB at
# 0.5 GB/s and a first compilation. After another clip on the same ranks 2.5 s were measured.
START, SLOW_START, WARM_START = 31, 150, 5
# A small model on a CPU, in seconds: start of the ranks, and of a token in one step with its share
# of the VAE. The demo's model takes one thread 13 s for 21 frames in 6 steps.
# That of tiny-2 was not measured.
SMALL_START, SMALL_TOKEN = 20, {"tiny": 1e-4, "tiny-2": 3e-4, "demo": 1.1e-3}
# Core seconds of a frame.
CORE_SECONDS = {
    "timeline": 0.0113,
    "keypoints": 0.0589,
    "person_mask": 0.0717,
    "excluded_mask": 0.0717,
    "pose_video": 0.0145,
    "face_video": 0.0216,
    "mask": 0.0333,
    "background": 0.0532,
    "preview": 0.02,
    "preview_video": 0.035,
    "driving": 0.03,
    "mux": 0.005,
    "intermediate": 0.3,
    "page": 0.02,
    "result_keypoints": 0.0589,
    "result_metrics": 0.05,
    "driving_frames": 0.05,
    "driven_preview": 0.01,
    "driven_preview_video": 0.04,
    "given_pose": 0.03,
    "given_face": 0.01,
    "given_mask": 0.02,
    "given_background": 0.04,
}
# Core seconds of a source frame that a stage decodes, but does not show.
SKIP = CORE_SECONDS["timeline"]
FILM_READERS = {
    *("keypoints", "person_mask", "excluded_mask", "face_video", "background", "driving"),
    *("preview", "preview_video", "driving_frames"),
}
# Core seconds more of a frame that is decoded from another clip's intermediate: 0.07 to 0.5.
EXACT_DECODE = 0.3
# Of a frame on a CPU, with random weights of the published sizes (ViTPose-H, SAM 2 large); of an
# edited picture on a CPU not measured.
DETECTOR_CORE_SECONDS = {"vitpose": 2.8, "sam2": 26.0, "flux": 20_000.0}
# Seconds of a frame on a GPU: not measured. Of an edited picture 36 to 45 s on an H200, its files
# in memory; the rest is for slower GPUs and disks.
DETECTOR_GPU_SECONDS = {"vitpose": 0.2, "sam2": 0.5, "flux": 180.0}
# Detectors' stages that see so many pictures, however long the clip is.
PICTURES = {"reference_keypoints": 1, "edit_reference": 1, "edit_driver": 1, "edited_pose": 2}
# Bytes of a pixel in one frame: preprocessing's videos, the sampled one, the journal's uint8, and
# the intermediate, 0.5 to 1.4.
DISK_PREPARED, DISK_RESULT, DISK_JOURNAL, DISK_INTERMEDIATE = 0.4, 0.5, 3.0, 1.4
# Of a frame that two segments share: in uint8 as the next one paints it, in fp32 as it starts from.
DISK_SHARED = 3.0 + 12.0


@dataclass(frozen=True)
class Cost:
    """Expected cost of sampling a clip: seconds on its GPUs, and bytes of disk."""

    seconds: float
    gpus: int
    disk: int

    @property
    def gpu_minutes(self) -> float:
        """Minutes of one GPU."""
        return self.seconds * self.gpus / 60


def sampling_cost(
    work: Work, gpus: int, speed: float, model: str, start: float | None = None
) -> Cost:
    """Return what sampling costs on `gpus` GPUs that are `speed` times as fast as an H200.

    `start`: seconds before the first step; those of a clip that loads the model when None.
    """
    if model in SMALL_MODELS:
        tokens = sum(map(work.tokens_of, work.segment_lengths))
        loading, sampling = SMALL_START, work.steps * tokens * SMALL_TOKEN[model]
    else:
        loading = START
        pace = MODELS[model].speed
        sampling = sum(segment_seconds(work, frames, pace) for frames in work.segment_lengths)
        sampling /= speed * speed_up(gpus)
    seconds = sampling + (loading if start is None else start)
    return Cost(seconds, gpus, disk_bytes(work))


def segment_seconds(work: Work, frames: int, pace: Speed = WAN_ANIMATE.speed) -> float:
    """Return the seconds of a segment of so many frames on one H200, by the model's `pace`."""
    share = work.tokens_of(frames) / TOKENS
    linear = pace.linear - (FP8_SAVES if work.precision == "fp8" else 0)
    attention = pace.attention * (ATTENTION_8 if work.attention == "8bit" else 1)
    forward = attention * share**2 + linear * share
    forwards = work.steps + work.guided_steps + pace.first_pass
    vae = (work.encoded + 1) * ENCODE + DECODE
    return forwards * forward + vae * work.pixels * frames / PIXEL_FRAMES


def speed_up(gpus: int) -> float:
    """Return how much faster `gpus` GPUs are than one."""
    return gpus * EFFICIENCY ** math.log2(gpus)


def stage_seconds(stage: str, work: Work) -> float:
    """Return the core seconds of a stage that is not the sampler, with MediaPipe as its detector.

    Before the first frame it shows, a stage decodes those after a keyframe; the timeline decodes
    the whole film.
    """
    decoded = work.skipped if stage in FILM_READERS else work.film * (stage == "timeline")
    seconds = CORE_SECONDS.get(stage, 0) * work.frames + SKIP * decoded
    if work.chained:
        seconds += EXACT_DECODE * (decoded + work.frames * (stage in FILM_READERS))
    return seconds


def detector_seconds(stage: str, work: Work, backend: str, cpus: int) -> float:
    """Return the seconds of a stage whose detector runs on `cpus` CPUs, or with 0 on a GPU."""
    each = DETECTOR_CORE_SECONDS[backend] / cpus if cpus else DETECTOR_GPU_SECONDS[backend]
    frames = PICTURES.get(stage, work.frames)
    return stage_seconds(stage, work) + each * frames


def disk_bytes(work: Work) -> int:
    """Return the bytes a clip's folder takes at most, the journal of a running clip included."""
    videos = DISK_PREPARED * (1 + work.encoded) + 2 * DISK_RESULT + DISK_JOURNAL
    videos += DISK_INTERMEDIATE * work.taken
    shared = DISK_SHARED * work.conditioning_frames * len(work.segment_lengths)
    return int(work.pixels * (work.frames * videos + shared))
