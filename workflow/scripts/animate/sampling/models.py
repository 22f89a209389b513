"""The models of a set of ranks, loaded once for any number of clips."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from animate.config.job import SamplingJob
from animate.config.lora_choice import LoraFile
from animate.devices.machine import Machine
from animate.kernels.imports import Imports
from animate.model.vae import VideoCodec, load_vae
from animate.model.wan import WanTransformer
from animate.parallel.build import Free, build_transformer, common_plan, free_here
from animate.parallel.plan import Workload
from animate.parallel.vae_split import SplitCodec
from animate.weights.checkpoint import model_index
from animate.weights.storage.early import EarlyWeights


@dataclass(frozen=True)
class Models:
    """What samples: the transformer and the VAE, on this rank's device.

    `made_by` names them and how they run, for the record of what they sample.
    """

    transformer: WanTransformer
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
    fresh: Free | None = None,
    transformer_file: Path | None = None,
    imports: Imports | None = None,
    first: torch.Tensor | None = None,
) -> Models:
    """Return the models of a folder with LoRAs merged; `workload` is that of the largest segment.

    `early` are the transformer's weights, where their reading has begun, and `imports` what else
    has; `fresh` as `common_plan` has it; `transformer_file` has the transformer where the folder
    does not. `first` is a video (1, 3, F, h, w), no larger than the workload's, which the VAE
    encodes while early weights are read, as its first work takes seconds.

    Raises:
        ClipError: the folder is no model's, or see `build_transformer`.
    """
    model_index(folder)
    exact = workload.vae_precision == "fp32"
    dtype = torch.float32 if exact else machine.dtype
    codecs: list[VideoCodec] = []

    def add_codec(
        compiled: bool, ready: Callable[[], None] = lambda: None, in_bands: bool = False
    ) -> None:
        vae = load_vae(folder / "vae", dtype, machine.device)
        ready()
        codecs.append(SplitCodec(vae, machine.world.size, compiled, in_bands))

    def encode_first(compiled: bool, ready: Callable[[], None], in_bands: bool) -> None:
        add_codec(compiled, ready, in_bands)
        codecs[0].encode(first)

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
        fresh,
        transformer_file,
        imports,
        None if first is None else encode_first,
    )
    if not codecs:
        # What is short of memory for the transformer is so for the VAE.
        add_codec(how["compiled"], in_bands=how.get("by_frames", False))
    return Models(transformer, codecs[0], {**how, "vae_precision": workload.vae_precision})


class KeptModels:
    """The models of a machine's ranks: loaded for a first clip, and kept for those like it."""

    def __init__(
        self,
        machine: Machine,
        early: EarlyWeights | None = None,
        imports: Imports | None = None,
    ):
        """`early` are the transformer's weights and `imports` what else has begun."""
        self._machine, self._early, self._imports = machine, early, imports
        self._models: Models | None = None
        self._source: tuple | None = None
        self._workload: Workload | None = None
        self._fresh: Free | None = None

    def get(
        self,
        folder: Path,
        loras: list[LoraFile],
        workload: Workload,
        say: Callable[[str], None],
        transformer_file: Path | None = None,
        first: torch.Tensor | None = None,
    ) -> Models:
        """Return the models of a folder, as `load_models` does; all ranks call it together.

        They are loaded when they are not yet, or are others, or the workload needs or allows
        another place for the weights.
        """
        precisions = workload.precision, workload.vae_precision, workload.attention
        source = folder, transformer_file, *loras, *precisions
        if self._models and source == self._source and self._holds(workload):
            say("the model is loaded already")
        else:
            say(f"loading the model from {folder}")
            again, self._models = self._models is not None, None
            self._give_back()
            if not again:
                self._fresh = free_here(self._machine.device)
            early, self._early = self._early, None
            options = self._machine, say, early, self._fresh if again else None, transformer_file
            try:
                self._models = load_models(folder, loras, workload, *options, self._imports, first)
            finally:
                # Else they would stay in the memory that the next clip is planned for.
                if early:
                    early.close()
            say("the model is loaded")
        self._source, self._workload = source, workload
        return self._models

    def _holds(self, workload: Workload) -> bool:
        """Whether the weights are where a process of its own would have them for a workload."""
        if workload == self._workload:
            return True
        # What the last sizes left would be in the way of the next ones.
        self._give_back()
        machine, transformer = self._machine, self._models.transformer
        where = machine.device, machine.world
        plan = common_plan(transformer, *where, workload, self._fresh)
        how = self._models.made_by
        wanted = plan.placement, plan.by_frames, plan.streamed
        as_wanted = wanted == (how["placement"], how.get("by_frames", False), "streamed" in how)
        # One block's memory was left free, for what differs from one clip to the next.
        return as_wanted and how.get("resident_blocks", 0) <= plan.resident + 1

    def _give_back(self) -> None:
        """Free the memory of a GPU that nothing is in."""
        gc.collect()
        if self._machine.device.type == "cuda":
            torch.cuda.empty_cache()


def job_workload(job: SamplingJob, size: tuple[int, int], frames: int) -> Workload:
    """Return the workload of a segment of `frames` frames of (width, height) `size`."""
    settings = job.settings
    precisions = settings.precision, settings.vae_precision, settings.attention
    return Workload(*size, frames, settings.branches, *precisions)
