"""What a clip costs in time, memory and disk, from constants that were measured.

GPU constants are those of one NVIDIA H200 (benchmarks/README.md), CPU constants those of
benchmarks/preprocessing.md. What is not measured says so.
"""

import math
from dataclasses import dataclass

from animate.cluster.work import Work

# One segment of 77 frames at 1280x720: seconds of a denoising step, of which attention grows with
# the square of the tokens, and of the VAE for one video.
TOKENS, PIXEL_FRAMES = 75_600, 1280 * 720 * 77
ATTENTION, LINEAR = 8.24, 2.96
FP8_LINEAR = LINEAR - (11.20 - 10.10)
ENCODE, DECODE = 1.16, 1.86
# Two GPUs are 0.97 x 2 times as fast, and this much is taken off again at each doubling: with four,
# 0.94 was measured with FSDP2 and 0.97 with replicated weights.
EFFICIENCY = 0.97
# Not measured: reading 35 GB of weights from a shared disk, compiling, starting the ranks.
START = 300
# The tiny model on a CPU, in seconds: start of the ranks, and of one token in one step.
TINY_START, TINY_TOKEN = 20, 1e-4
# Source frames of a second on one core; the slowest stages of CPU-only backends are guesses.
BACKENDS = {"mediapipe": 1.0, "vitpose": 20.0, "sam2": 20.0}
CORE_SECONDS = {
    "timeline": 0.0113,
    "keypoints": 0.0589,
    "person_mask": 0.0717,
    "pose_video": 0.0145,
    "face_video": 0.0216,
    "mask": 0.0333,
    "background": 0.0532,
    "preview": 0.02,
    "mux": 0.005,
    "page": 0.02,
}
# Bytes of a pixel in one frame: preprocessing's videos, the sampled one, the journal's uint8.
DISK_PREPARED, DISK_RESULT, DISK_JOURNAL = 0.4, 0.5, 3.0


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


def sampling_cost(work: Work, gpus: int, speed: float, model: str) -> Cost:
    """Return what sampling costs on `gpus` GPUs that are `speed` times as fast as an H200."""
    if model == "tiny":
        seconds = TINY_START + work.segments * work.steps * work.tokens * TINY_TOKEN
    else:
        seconds = START + work.segments * segment_seconds(work) / (speed * speed_up(gpus))
    return Cost(seconds, gpus, disk_bytes(work))


def segment_seconds(work: Work) -> float:
    """Return the seconds of one segment on one H200."""
    share = work.tokens / TOKENS
    linear = FP8_LINEAR if work.precision == "fp8" else LINEAR
    step = work.branches * (ATTENTION * share**2 + linear * share)
    vae = (work.encoded + 1) * ENCODE + DECODE
    return work.steps * step + vae * work.pixels * work.segment_frames / PIXEL_FRAMES


def speed_up(gpus: int) -> float:
    """Return how much faster `gpus` GPUs are than one."""
    return gpus * EFFICIENCY ** math.log2(gpus)


def stage_seconds(stage: str, work: Work, backend: str = "mediapipe") -> float:
    """Return the core seconds of a stage that is not the sampler."""
    return CORE_SECONDS.get(stage, 0) * work.frames * BACKENDS[backend]


def disk_bytes(work: Work) -> int:
    """Return the bytes a clip's folder takes at most, the journal of a running clip included."""
    videos = DISK_PREPARED * (1 + work.encoded) + 2 * DISK_RESULT + DISK_JOURNAL
    return int(work.frames * work.pixels * videos)
