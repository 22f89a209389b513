"""A pipeline of diffusers that edits a picture as a text says: FLUX.1 Kontext, or another one."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from animate.atomic import atomic_output
from animate.config.settings import EditSettings
from animate.devices.machine import choose_device
from animate.editing.canvas import canvas_for
from animate.editing.memory import Placement, plan_placement
from animate.editing.pipeline import KONTEXT, EditingPipeline
from animate.editing.prompts import PROMPTS, prompt_for
from animate.errors import ClipError
from animate.pose.keypoints import Keypoints

# From a picture, uint8 RGB (h, w, 3), and the name of one of `PROMPTS` to the edited picture, of
# the same size.
Edit = Callable[[np.ndarray, str], np.ndarray]

TEXT_PARTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
EMBEDS = ("prompt_embeds", "pooled_prompt_embeds")
FP8 = {"storage_dtype": torch.float8_e4m3fn, "compute_dtype": torch.bfloat16}


def into_standard_pose(picture: np.ndarray, keypoints: Keypoints, edit: Edit) -> np.ndarray:
    """Return a picture, uint8 RGB (h, w, 3), with its person in the standard pose, as large.

    `keypoints` are those of the driving video, which decide on the pose.
    """
    prompt = prompt_for(keypoints, picture.shape[1::-1])
    logging.info("asked for: %s", PROMPTS[prompt])
    return edit(picture, prompt)


def write_prompts(path: Path, folder: Path) -> None:
    """Encode all `PROMPTS` on the CPU, once for all clips, and write them as safetensors.

    Those of a pipeline that reads its text together with the picture are not encoded; the file is
    then empty. Raises ClipError when it is no pipeline that edits a picture.
    """
    found: dict[str, torch.Tensor] = {}
    if EditingPipeline.in_folder(folder).name == KONTEXT:
        pipeline = _load(folder, torch.bfloat16, {"transformer": None, "vae": None})
        with torch.inference_mode():
            embeds, pooled, _ = pipeline.encode_prompt(list(PROMPTS.values()), device="cpu")
        for place, name in enumerate(PROMPTS):
            for key, values in zip(EMBEDS, (embeds, pooled), strict=True):
                found[f"{name}.{key}"] = values[place].contiguous()
    with atomic_output(path) as temporary:
        save_file(found, temporary)


class Editor:
    """An editing pipeline, loaded and placed; call it as `Edit`."""

    def __init__(
        self,
        folder: Path,
        prompts: Path,
        settings: EditSettings,
        device: str = "auto",
        placement: Placement | None = None,
    ) -> None:
        """Load the pipeline in a folder of diffusers' layout, with what `write_prompts` wrote.

        `device` is "auto", "cpu" or "cuda". Without a `placement` the free memory of the GPU
        decides on it. Raises ClipError, before it is loaded, when it is no pipeline that edits a
        picture, when its GPU does not start, and when "auto" finds none for a large one; also when
        it cannot be loaded.
        """
        kind = EditingPipeline.in_folder(folder)
        if placement == "fp8" and not kind.has_fp8:
            raise ClipError(
                f"retarget_model {folder} is a {kind.name} without a transformer of diffusers that"
                " fp8 could store; place it otherwise"
            )
        self._device = choose_device(device, folder, setting="detectors")
        self.settings, self._kind = settings, kind
        self._embeds = load_file(prompts)
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        absent = dict.fromkeys(TEXT_PARTS) if self._embeds else {}
        pipeline = _load(folder, self._dtype, absent)
        pipeline.set_progress_bar_config(mininterval=10)
        if self._device == "cuda":
            _place(pipeline, placement or _fitting(pipeline, kind.has_fp8))
        else:
            logging.warning("no GPU is used: with the published weights a picture takes hours")
        self._pipeline = pipeline

    def __call__(self, picture: np.ndarray, prompt: str) -> np.ndarray:
        """Return the picture, uint8 RGB (h, w, 3), as the prompt of that name asks for it.

        It is edited at about a megapixel, and proportions are kept. The same seed gives the same
        picture on the same hardware and packages. Raises ClipError when the pipeline gives a
        picture of another shape.
        """
        canvas = canvas_for(picture.shape[1::-1])
        width, height = canvas.size
        options = {
            "image": Image.fromarray(canvas.paint(picture)),
            "width": width,
            "height": height,
            # FLUX's pipeline would otherwise bring both pictures to sizes of its own.
            "max_area": width * height,
            "_auto_resize": False,
            "num_inference_steps": self.settings.retarget_steps,
            "generator": torch.Generator("cpu").manual_seed(self.settings.retarget_seed),
            **self._guidance(),
            **self._prompt(prompt),
        }
        with torch.inference_mode():
            made = self._pipeline(**self._kind.taken(options))
        if not hasattr(made, "images"):
            raise ClipError(
                f"retarget_model is a {self._kind.name}, which makes no picture; name another one"
            )
        edited = made.images[0]
        return canvas.cut_out(np.asarray(edited.convert("RGB")), picture.shape[1::-1])

    @property
    def unread(self) -> list[str]:
        """The settings that the pipeline does not take."""
        return self._kind.unread

    def _guidance(self) -> dict[str, Any]:
        scale = self.settings.retarget_guidance
        if self._embeds or "true_cfg_scale" not in self._kind.takes:
            return {"guidance_scale": scale}
        # Distilled guidance is FLUX's; without a negative prompt there would be no other.
        return {"true_cfg_scale": scale, "negative_prompt": " "}

    def _prompt(self, name: str) -> dict[str, Any]:
        if not self._embeds:
            return {"prompt": PROMPTS[name]}
        embeds = {key: self._embeds[f"{name}.{key}"][None] for key in EMBEDS}
        return {key: value.to(self._device, self._dtype) for key, value in embeds.items()}


def part_bytes(pipeline: Any) -> dict[str, int]:
    """Return the bytes of the weights of each part of a pipeline, as they were loaded."""
    modules = {n: m for n, m in pipeline.components.items() if isinstance(m, torch.nn.Module)}
    return {name: _weight_bytes(module) for name, module in modules.items()}


def fp8_bytes(transformer: Any) -> int:
    """Return the bytes of a transformer of diffusers once fp8 stores what it can of it; nothing of
    it changes."""
    with torch.device("meta"):
        twin = type(transformer).from_config(transformer.config).to(torch.bfloat16)
    twin.enable_layerwise_casting(**FP8)
    return _weight_bytes(twin)


def _weight_bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _fitting(pipeline: Any, has_fp8: bool) -> Placement:
    parts = part_bytes(pipeline)
    smaller = {"transformer": fp8_bytes(pipeline.transformer)} if has_fp8 else {}
    free, _ = torch.cuda.mem_get_info()
    how = plan_placement(parts, free, smaller)
    gigabytes = {name: round(size / 1e9, 1) for name, size in parts.items()}
    logging.info("GB of weights %s, %.1f free on the GPU: %s", gigabytes, free / 1e9, how)
    return how


def _place(pipeline: Any, how: Placement) -> None:
    """Place a pipeline that was loaded in bf16 on the CPU, as `plan_placement` names it."""
    if how == "whole":
        pipeline.to("cuda")
        return
    if how == "layers":
        pipeline.enable_group_offload(
            torch.device("cuda"),
            offload_type="leaf_level",
            use_stream=True,
            # Pinned beforehand, the weights would take the machine's memory a second time.
            low_cpu_mem_usage=True,
        )
        return
    if how == "fp8":
        pipeline.transformer.enable_layerwise_casting(**FP8)
    pipeline.enable_model_cpu_offload()


def _load(folder: Path, dtype: torch.dtype, replaced: Mapping[str, Any]) -> Any:
    # Imported here because it takes seconds.
    from diffusers import DiffusionPipeline

    try:
        # Nothing is run but diffusers' own code, and nothing fetched.
        return DiffusionPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, **replaced
        )
    except Exception as error:
        raise ClipError(
            f"retarget_model {folder} cannot be loaded ({error}): get the editor again, or name"
            " another one"
        ) from error
