"""Which files a job's transformer comes from, and the reading of them begun."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from animate.config.job import SamplingJob
from animate.config.lora_choice import LoraFile
from animate.errors import ClipError
from animate.weights.layout import RELIGHTING_LORA, relighting_lora
from animate.weights.prepared import transformer_folder
from animate.weights.storage.early import EarlyWeights


def job_loras(job: SamplingJob) -> list[LoraFile]:
    """Return the LoRAs to merge for a job, the relighting LoRA first.

    Raises:
        ClipError: the relighting LoRA is asked for and the model has none.
    """
    path, wanted = relighting_lora(job.model), job.settings.relighting_lora
    if wanted == "auto":
        wanted = job.mode == "replace" and path is not None
    if wanted and path is None:
        missing = job.model / RELIGHTING_LORA
        raise ClipError(f"relighting_lora is true, but the model has no {missing}")
    own = [LoraFile(Path(lora.path), lora.weight, lora.strict) for lora in job.settings.loras]
    return ([LoraFile(path)] if wanted else []) + own


@contextmanager
def early_weights(
    job: SamplingJob, model: Path, device: torch.device
) -> Iterator[EarlyWeights | None]:
    """Read what a job's only rank will load from the folder `model`, inside the block.

    Only a help: what is wrong with the files is left for those to say who load them.
    """
    rounded_once = device.type == "cuda" and job.settings.precision == "bf16"
    try:
        exact = not rounded_once or bool(job_loras(job))
        early = EarlyWeights(transformer_folder(model, exact), device)
    except ClipError:
        yield None
        return
    with early:
        yield early
