"""A pipeline of diffusers that edits a picture as a text says: FLUX.1 Kontext, or another one."""

import inspect
import json
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
from animate.editing.memory import Placement, plan_placement
from animate.editing.prompts import PROMPTS, prompt_for
from animate.errors import ClipError
from animate.pose.keypoints import Keypoints

# From a picture, uint8 RGB (h, w, 3), and the name of one of `PROMPTS` to the edited picture.
Edit = Callable[[np.ndarray, str], np.ndarray]

INDEX = "model_index.json"
# The pipeline whose text encoders do not look at the picture: its prompts are encoded once.
KONTEXT = "FluxKontextPipeline"
TEXT_PARTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
EMBEDS = ("prompt_embeds", "pooled_prompt_embeds")
# Editors were trained on pictures of about a megapixel, with sides that are multiples of 16.
AREA, MULTIPLE = 1024 * 1024, 16


def into_standard_pose(picture: np.ndarray, keypoints: Keypoints, edit: Edit) -> np.ndarray:
    """Return a picture, uint8 RGB (h, w, 3), with its person in the standard pose, as large.

    `keypoints` are those of the driving video, which decide on the pose.
    """
    size = picture.shape[1::-1]
    prompt = prompt_for(keypoints, size)
    logging.info("asked for: %s", PROMPTS[prompt])
    edited = edit(picture, prompt)
    if edited.shape == picture.shape:
        return edited
    return np.asarray(Image.fromarray(edited).resize(size, Image.Resampling.LANCZOS))


def write_prompts(path: Path, folder: Path) -> None:
    """Encode all `PROMPTS` on the CPU, once for all clips, and write them as safetensors.

    Those of a pipeline that reads its text together with the picture are not encoded; the file is
    then empty.
    """
    found: dict[str, torch.Tensor] = {}
    if _kind(folder) == KONTEXT:
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
        decides on it. Raises ClipError when it cannot be loaded, or is no pipeline that edits a
        picture.
        """
        self._settings = settings
        self._embeds = load_file(prompts)
        on_gpu = device != "cpu" and torch.cuda.is_available()
        absent = dict.fromkeys(TEXT_PARTS) if self._embeds else {}
        dtype = torch.bfloat16 if on_gpu else torch.float32
        pipeline = _load(folder, dtype, absent)
        self._takes = inspect.signature(pipeline.__call__).parameters
        if not {"image", "prompt"} <= self._takes.keys():
            kind = type(pipeline).__name__
            raise ClipError(
                f"retarget_model {folder} is a {kind}, which edits no picture by a text; name"
                " another one"
            )
        self._dtype, self._device = dtype, "cuda" if on_gpu else "cpu"
        pipeline.set_progress_bar_config(mininterval=10)
        if on_gpu:
            _place(pipeline, placement or _fitting(pipeline))
        else:
            logging.warning("no GPU is used: with the published weights a picture takes hours")
        self._pipeline = pipeline

    def __call__(self, picture: np.ndarray, prompt: str) -> np.ndarray:
        """Return the picture, uint8 RGB (h, w, 3), as the prompt of that name asks for it.

        It has about a megapixel, in the picture's shape. The same seed gives the same picture on
        the same hardware and packages.
        """
        width, height = editing_size(picture.shape[1::-1])
        options = {
            "image": Image.fromarray(picture),
            "width": width,
            "height": height,
            # Whatever the pipeline's own area is, its sides are those.
            "max_area": width * height,
            "num_inference_steps": self._settings.retarget_steps,
            "generator": torch.Generator("cpu").manual_seed(self._settings.retarget_seed),
            **self._guidance(),
            **self._prompt(prompt),
        }
        known = {name: value for name, value in options.items() if name in self._takes}
        with torch.inference_mode():
            edited = self._pipeline(**known).images[0]
        return np.asarray(edited.convert("RGB"))

    def _guidance(self) -> dict[str, Any]:
        scale = self._settings.retarget_guidance
        if self._embeds or "true_cfg_scale" not in self._takes:
            return {"guidance_scale": scale}
        # Distilled guidance is FLUX's; without a negative prompt there would be no other.
        return {"true_cfg_scale": scale, "negative_prompt": " "}

    def _prompt(self, name: str) -> dict[str, Any]:
        if not self._embeds:
            return {"prompt": PROMPTS[name]}
        embeds = {key: self._embeds[f"{name}.{key}"][None] for key in EMBEDS}
        return {key: value.to(self._device, self._dtype) for key, value in embeds.items()}


def editing_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) in which a picture of (width, height) `size` is edited."""
    scale = (AREA / (size[0] * size[1])) ** 0.5
    width, height = (max(round(scale * side / MULTIPLE), 1) * MULTIPLE for side in size)
    return width, height


def part_bytes(pipeline: Any) -> dict[str, int]:
    """Return the bytes of the weights of each part of a pipeline, as they were loaded."""
    modules = {n: m for n, m in pipeline.components.items() if isinstance(m, torch.nn.Module)}
    return {
        name: sum(p.numel() * p.element_size() for p in module.parameters())
        for name, module in modules.items()
    }


def _fitting(pipeline: Any) -> Placement:
    parts = part_bytes(pipeline)
    free, _ = torch.cuda.mem_get_info()
    how = plan_placement(parts, free)
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
        parts = part_bytes(pipeline)
        largest = max(parts, key=parts.__getitem__)
        pipeline.components[largest].enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16
        )
    pipeline.enable_model_cpu_offload()


def _kind(folder: Path) -> str:
    try:
        return json.loads((folder / INDEX).read_text("utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError) as error:
        raise ClipError(
            f"retarget_model {folder} is no pipeline of diffusers ({INDEX}: {error}); name a"
            " folder in its layout"
        ) from error


def _load(folder: Path, dtype: torch.dtype, replaced: Mapping[str, Any]) -> Any:
    _kind(folder)
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
