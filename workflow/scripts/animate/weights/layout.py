"""The layout of a model folder, as in the published repositories for diffusers."""

import json
from pathlib import Path

from animate.atomic import atomic_output
from animate.weights.kinds import Kind, folder_kind

# The parts of every kind of model.
PARTS = {
    "image_encoder": ("transformers", "CLIPVisionModel"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}
PROCESSOR = {"image_processor": ("transformers", "CLIPImageProcessor")}
TRANSFORMER = "transformer"
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


def parts_of(kind: Kind) -> dict[str, tuple[str, str]]:
    """Return the parts of a model's folder: of each the library and the class."""
    own = {"scheduler": ("diffusers", kind.scheduler), TRANSFORMER: ("diffusers", kind.class_name)}
    parts = PARTS | own | (PROCESSOR if kind.processor else {})
    return {name: parts[name] for name in sorted(parts)}


def write_schedule_and_processor(folder: Path) -> None:
    """Write the parts without weights: the flow scheduler and, where it is one, CLIP's processor.

    The folder has its transformer's config.json, which tells the kind of model.
    """
    # Imported here because both packages take seconds to load.
    import diffusers
    from transformers import CLIPImageProcessor

    kind = folder_kind(folder / TRANSFORMER)
    getattr(diffusers, kind.scheduler)(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    ).save_pretrained(folder / "scheduler")
    if kind.processor:
        CLIPImageProcessor().save_pretrained(folder / "image_processor")


def write_model_index(folder: Path) -> None:
    """Write model_index.json, which marks the folder as complete: call it last."""
    with atomic_output(folder / "model_index.json") as path:
        path.write_text(index_text(folder))


def index_text(folder: Path) -> str:
    """Return the index of a folder that has its transformer's config.json, which tells the kind."""
    kind = folder_kind(folder / TRANSFORMER)
    index = {"_class_name": kind.pipeline, **{k: list(v) for k, v in parts_of(kind).items()}}
    return json.dumps(index, indent=2) + "\n"
