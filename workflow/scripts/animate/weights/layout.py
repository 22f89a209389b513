"""The layout of a model folder, as in Wan-AI/Wan2.2-Animate-14B-Diffusers."""

import json
from pathlib import Path

from animate.atomic import atomic_output

PARTS = {
    "image_encoder": ("transformers", "CLIPVisionModel"),
    "image_processor": ("transformers", "CLIPImageProcessor"),
    "scheduler": ("diffusers", "UniPCMultistepScheduler"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
    "transformer": ("diffusers", "WanAnimateTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}
# Where each file came from, with its SHA-256 if it was pinned.
RECORD = "sources.json"
# PEFT keeps a LoRA's alpha there, beside the file.
ADAPTER_CONFIG = "adapter_config.json"
RELIGHTING_LORA = "relighting_lora.ckpt"
# As published: the first is read tensor by tensor, and cannot hold code.
RELIGHTING_LORAS = ("relighting_lora/adapter_model.safetensors", RELIGHTING_LORA)


def adapter_config(path: Path) -> Path:
    """Return where PEFT keeps the settings, and so the alpha, of a LoRA file without its own."""
    return path.with_name(ADAPTER_CONFIG)


def relighting_lora(folder: Path) -> Path | None:
    """Return the relighting LoRA's file of a model folder, None when it has none."""
    return next((folder / name for name in RELIGHTING_LORAS if (folder / name).is_file()), None)


def staged_file(staged: Path, path: Path) -> Path:
    """Return where a copy of the model on a node's disk has the one file of its transformer."""
    return staged / f"one_file{path.suffix}"


def write_schedule_and_processor(folder: Path) -> None:
    """Write the parts without weights: the UniPC flow scheduler and CLIP's image processor."""
    # Imported here because both packages take seconds to load.
    from diffusers import UniPCMultistepScheduler
    from transformers import CLIPImageProcessor

    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    ).save_pretrained(folder / "scheduler")
    CLIPImageProcessor().save_pretrained(folder / "image_processor")


def write_model_index(folder: Path) -> None:
    """Write model_index.json, which marks the folder as complete: call it last."""
    index = {"_class_name": "WanAnimatePipeline", **{k: list(v) for k, v in PARTS.items()}}
    with atomic_output(folder / "model_index.json") as path:
        path.write_text(json.dumps(index, indent=2) + "\n")
