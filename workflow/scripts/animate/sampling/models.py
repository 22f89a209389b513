"""The models of a set of ranks, loaded once for any number of clips."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from animate.config.job import SamplingJob
from animate.config.lora_choice import LoraFile
from animate.devices.machine import Machine
from animate.model.transformer import SamplingTransformer
from animate.model.vae import VideoCodec, load_vae
from animate.parallel.build import build_transformer
from animate.parallel.plan import Workload
from animate.parallel.vae_split import SplitCodec
from animate.weights.checkpoint import model_index
from animate.weights.storage.early import EarlyWeights


@dataclass(frozen=True)
class Models:
    """What samples: the transformer and the VAE, on this rank's device.

    `made_by` names them and how they run, for the record of what they sample.
    """

    transformer: SamplingTransformer
    codec: VideoCodec
    made_by: dict[str, Any]


@torch.inference_mode()
def load_models(
    folder: Path,
    loras: list[LoraFile],
    workload: Workload,
    machine: Machine,
    say: Callable[[str], None],
    early: EarlyWeights | None = None,
) -> Models:
    """Return the models of a folder with LoRAs merged; `workload` is that of the largest segment.

    `early` are the transformer's weights, where their reading has begun.

    Raises:
        ClipError: the folder is no model's, or see `build_transformer`.
    """
    model_index(folder)
    transformer, how = build_transformer(
        folder,
        machine.dtype,
        machine.device,
        loras,
        machine.world,
        workload,
        say,
        machine.compiling,
        early,
    )
    exact = workload.vae_precision == "fp32"
    dtype = torch.float32 if exact else machine.dtype
    vae = load_vae(folder / "vae", dtype, machine.device)
    codec = SplitCodec(vae, machine.world.size, how["compiled"])
    return Models(transformer, codec, {**how, "vae_precision": workload.vae_precision})


def job_workload(job: SamplingJob, size: tuple[int, int], frames: int) -> Workload:
    """Return the workload of a segment of `frames` frames of (width, height) `size`."""
    settings = job.settings
    precisions = settings.precision, settings.vae_precision
    return Workload(*size, frames, settings.branches, *precisions)
