"""What a job asks of SLURM: minutes, MB and CPUs, more of them with each attempt."""

import math
from collections.abc import Mapping, Sequence

from animate.cluster.cost import (
    SLOW_START,
    WARM_START,
    detector_seconds,
    sampling_cost,
    stage_seconds,
)
from animate.cluster.published import FREE_OF_CARD, clip_plan, published_sizes
from animate.cluster.site import Site
from animate.cluster.work import Work
from animate.config.models.known import SMALL_MODELS
from animate.errors import MemoryShort
from animate.parallel.plan import driving_tokens

# Estimates are for quiet machines; starting Python on a shared disk takes a minute at times.
HEADROOM, STAGE_HEADROOM, STAGE_START = 1.5, 5.0, 120
# Beside other work, SAM 2 took 1.7 times as long as alone.
DETECTOR_HEADROOM, DETECTOR_CPUS = 3.0, 2
# Peak of the stages that stream frames is 0.5 GB at 1280x720 (benchmarks/preprocessing.md).
STAGE_MB = 2000
# Beside the weights, at 1280x720: of their sizes, ViTPose-H had a peak of 3.4 GB with 2.6 GB of
# weights, SAM 2 large one of 2.7 GB with 0.9 GB when it has the 48 frames of a window.
DETECTOR_MB = {"vitpose": 1500, "sam2": 2000, "flux": 6000}
PUBLISHED_BYTES = {"vitpose": 2_700_000_000, "sam2": 1_800_000_000, "flux": 34_000_000_000}
# Libraries and context of CUDA: not measured.
CUDA_MB = 3000
# Host memory of the sampler: libraries of a rank, and the weights that one rank reads at a time.
RANK_MB, WEIGHTS_MB, SMALL_RANK_MB = 6000, 48_000, 1500
TEXT_ENCODER_MB, IMAGE_ENCODER_MB, CONVERT_MB, PREPARE_MB = 24_000, 6000, 64_000, 8000
# Time limit of jobs that belong to no clip.
FIXED_MINUTES = 60


def sampling_minutes(work: Work, gpus: int, site: Site, model: str, attempt: int) -> int:
    """Return the time limit of sampling a clip, within what the site allows.

    A clip that takes longer than the limit goes on in its next attempt.
    """
    return _within(site, series_minutes([work], gpus, site, model, attempt))


def series_minutes(
    works: Sequence[Work], gpus: int, site: Site, model: str, attempt: int, warm: bool = True
) -> int:
    """Return the time limit of sampling clips one after the other, whatever the site allows.

    `warm` tells whether the model is loaded for the first only.
    """
    first = None if model in SMALL_MODELS else SLOW_START
    starts = [first, *[WARM_START if warm else first] * (len(works) - 1)]
    costs = [
        sampling_cost(work, gpus, site.gpu_speed, model, start)
        for work, start in zip(works, starts, strict=True)
    ]
    seconds = sum(cost.seconds for cost in costs) * HEADROOM + site.warning_seconds
    return attempt * max(math.ceil(seconds / 60), site.min_minutes)


def stage_minutes(
    stage: str, work: Work, site: Site, attempt: int, detector: str = "mediapipe", gpu: bool = False
) -> int:
    """Return the time limit of a stage that is not the sampler."""
    if detector == "mediapipe":
        seconds = STAGE_HEADROOM * stage_seconds(stage, work)
    else:
        cpus = 0 if gpu else DETECTOR_CPUS
        seconds = DETECTOR_HEADROOM * detector_seconds(stage, work, detector, cpus)
    return _within(site, attempt * math.ceil((STAGE_START + seconds) / 60))


def detector_mb(detector: str, files: Mapping[str, int], gpu: bool) -> int:
    """Return the host memory of a stage with a detector, in MB.

    `files` are the bytes of its weights by file name; the published ones' while it has none.
    """
    if detector == "mediapipe":
        return STAGE_MB
    # What stands in an .onnx file, or in a checkpoint, is in memory twice while it is read.
    read = {
        name: size * (2 if name.endswith((".onnx", ".pt")) else 1) for name, size in files.items()
    }
    weights = sum(read.values()) or PUBLISHED_BYTES[detector]
    if detector == "flux" and not gpu:
        # Stored in bf16, the weights are in fp32 on a CPU.
        weights *= 2
    return math.ceil(weights / 1e6) + DETECTOR_MB[detector] + (CUDA_MB if gpu else 0)


def grown_mb(mb: int, attempt: int, most: int | None = None) -> int:
    """Return what an attempt asks for: half as much more each time, but at most `most` if known."""
    wanted = mb * (attempt + 1) // 2
    return max(mb, min(wanted, most or wanted))


def fixed_minutes(site: Site, attempt: int) -> int:
    """Return the time limit of a job that belongs to no clip: a model's text encoder, its files."""
    return _within(site, attempt * FIXED_MINUTES)


def sampling_mb(
    ranks: int, model: str, attempt: int, most: int | None = None, keys_mb: int = 0
) -> int:
    """Return the host memory of a node that runs `ranks` ranks, in MB.

    More with each attempt, but not more than `most`, what the largest node has, if that is known.
    `keys_mb`: the node's part of `driving_keys_mb`.
    """
    fixed, each = (0, SMALL_RANK_MB) if model in SMALL_MODELS else (WEIGHTS_MB, RANK_MB)
    first, wanted = (keys_mb + fixed + times * ranks * each for times in (1, attempt))
    return max(first, min(wanted, most or wanted))


def driving_keys_mb(work: Work, gpus: int, site: Site, model: str) -> int:
    """Return what a clip keeps of its driving video in host memory, on all of its nodes, in MB.

    None where the site's GPUs have room for it, or where the model keeps nothing.
    """
    kept = published_sizes(work.precision, work.kind).kept
    if model in SMALL_MODELS or not kept:
        return 0
    try:
        waits = clip_plan(work, gpus, int(site.gpu_memory_gb * 1e9 * FREE_OF_CARD)).streamed
    except MemoryShort:
        # GPUs may be larger than the site says; the sampler refuses those that are not.
        waits = True
    tokens = driving_tokens(work.tokens, max(work.segment_lengths))
    return math.ceil(kept * tokens / 1e6) if waits else 0


def text_encoder_mb(model: str) -> int:
    """Return the host memory of encoding a prompt, in MB."""
    return STAGE_MB if model in SMALL_MODELS else TEXT_ENCODER_MB


def image_encoder_mb(model: str) -> int:
    """Return the host memory of encoding pictures by the model's image encoder, in MB."""
    return STAGE_MB if model in SMALL_MODELS else IMAGE_ENCODER_MB


def _within(site: Site, minutes: int) -> int:
    return min(minutes, site.max_minutes)
