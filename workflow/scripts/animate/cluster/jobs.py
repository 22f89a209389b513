"""What a job asks of SLURM: minutes, MB and CPUs, more of them with each attempt."""

import math

from animate.cluster.cost import sampling_cost, stage_seconds
from animate.cluster.site import Site
from animate.cluster.work import Work

# Estimates are for quiet machines; starting Python on a shared disk takes a minute at times.
HEADROOM, STAGE_HEADROOM, STAGE_START = 1.5, 5.0, 120
# Peak of the stages that stream frames is 0.5 GB at 1280x720 (benchmarks/preprocessing.md).
STAGE_MB = 2000
# Host memory of the sampler: libraries of a rank, and the weights that one rank reads at a time.
RANK_MB, WEIGHTS_MB, TINY_RANK_MB = 6000, 48_000, 1500
TEXT_ENCODER_MB, IMAGE_ENCODER_MB, CONVERT_MB, PREPARE_MB, FIXED_MINUTES = (
    24_000,
    6000,
    64_000,
    8000,
    60,
)


def sampling_minutes(work: Work, gpus: int, site: Site, model: str, attempt: int) -> int:
    """Return the time limit of sampling a clip, within what the site allows.

    A clip that takes longer than the limit goes on in its next attempt.
    """
    seconds = sampling_cost(work, gpus, site.gpu_speed, model).seconds * HEADROOM
    seconds += site.warning_seconds
    return _within(site, attempt * max(math.ceil(seconds / 60), site.min_minutes))


def stage_minutes(stage: str, work: Work, site: Site, attempt: int, backend: str) -> int:
    """Return the time limit of a stage without GPU."""
    seconds = STAGE_START + STAGE_HEADROOM * stage_seconds(stage, work, backend)
    return _within(site, attempt * math.ceil(seconds / 60))


def fixed_minutes(site: Site, attempt: int) -> int:
    """Return the time limit of a job that belongs to no clip: a model's text encoder, its files."""
    return _within(site, attempt * FIXED_MINUTES)


def sampling_mb(ranks: int, model: str, attempt: int, most: int | None = None) -> int:
    """Return the host memory of a node that runs `ranks` ranks, in MB.

    More with each attempt, but not more than `most`, what the largest node has, if that is known.
    """
    fixed, each = (0, TINY_RANK_MB) if model == "tiny" else (WEIGHTS_MB, RANK_MB)
    first, wanted = (fixed + times * ranks * each for times in (1, attempt))
    return max(first, min(wanted, most or wanted))


def text_encoder_mb(model: str) -> int:
    """Return the host memory of encoding a prompt, in MB."""
    return STAGE_MB if model == "tiny" else TEXT_ENCODER_MB


def image_encoder_mb(model: str) -> int:
    """Return the host memory of comparing pictures by the model's image encoder, in MB."""
    return STAGE_MB if model == "tiny" else IMAGE_ENCODER_MB


def _within(site: Site, minutes: int) -> int:
    return min(minutes, site.max_minutes)
