"""Which files a job's transformer comes from, and the reading of them begun."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from animate.config.job import SamplingJob
from animate.config.lora_choice import LoraFile
from animate.errors import ClipError
from animate.weights.layout import RELIGHTING_LORA, relighting_lora, staged_file
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


def job_transformer(job: SamplingJob, staged: Path | None = None) -> Path | None:
    """Return the one file that holds a job's transformer, None where its model's folder has it.

    A node's own copy of the model, `staged`, may have the file, too.
    """
    if not job.settings.transformer_file:
        return None
    path = Path(job.settings.transformer_file)
    copy = staged and staged_file(staged, path)
    return copy if copy and copy.is_file() else path


@contextmanager
def early_weights(
    job: SamplingJob, staged: Path | None, device: torch.device
) -> Iterator[EarlyWeights | None]:
    """Read what a job's only rank will load of its transformer, inside the block.

    `staged` is a copy of the model on a faster disk.

    Only a help: what is wrong with the files is left for those to say who load them.
    """
    try:
        alone = device.type == "cuda" and not job_loras(job)
        rounded = job.settings.precision if alone else None
        source = job_transformer(job, staged) or transformer_folder(staged or job.model, rounded)
        early = EarlyWeights(source, device)
    except ClipError:
        yield None
        return
    with early:
        yield early
