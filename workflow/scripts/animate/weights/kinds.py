"""The kinds of transformer that can be sampled with: diffusers' class, and their tensors' names.

Nothing else that reads or writes weights knows which model they are of. Without PyTorch.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animate.errors import ClipError
from animate.weights.original_names import Names, driven_names, layer_count, transformer_names
from animate.weights.original_sizes import DRIVEN, POSED, Shaped, driven_sizes, posed_sizes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Kind:
    """A kind of transformer.

    `name` is that of the kind in settings, `title` the model's, `class_name` that of its class in
    diffusers, `pipeline` and `scheduler` those of its pipeline there; `processor` tells whether
    that has a part of its own for images. `own_keys` are keys of its config.json that diffusers
    writes for no other class. `rounded` has the linear layers of a block that tokens
    pass in every step, which fp8 is for: the last one is the second of the feed-forward. `names`
    returns the table of original names for as many blocks as some names, original or diffusers',
    tell of, and `sizes` what the class is built of for original tensors, which it raises a
    `ClipError` about. Original names have all of `ends`; those of no kind later in `KINDS` begin
    with one of `marks`.
    """

    name: str
    title: str
    class_name: str
    pipeline: str
    scheduler: str
    processor: bool
    rounded: tuple[str, ...]
    names: Callable[[Collection[str]], Names]
    sizes: Callable[[Path | str, Shaped], dict[str, Any]]
    own_keys: frozenset[str]
    ends: tuple[str, ...]
    marks: tuple[str, ...] = ("",)


def _posed(tensors: Collection[str]) -> Names:
    adapters = (layer_count(tensors, f"face_adapter.{part}") for part in ("", "fuser_blocks."))
    return transformer_names(layer_count(tensors, "blocks."), max(adapters))


def _driven(tensors: Collection[str]) -> Names:
    return driven_names(layer_count(tensors, "blocks."))


def _rounded(own: str, cross: str, up: str, down: str) -> tuple[str, ...]:
    """Return those layers by the names of the attentions and of the feed-forward's layers."""
    seen = (f"{own}.{layer}" for layer in ("to_q", "to_k", "to_v", "to_out.0"))
    return *seen, f"{cross}.to_q", f"{cross}.to_out.0", up, down


POSED_MARKS = ("pose_patch_embedding.", "face_encoder.", "motion_encoder.", "face_adapter.")
PATCHES = "patch_embedding.weight"
CLASS_NAME = "_class_name"
KINDS = (
    Kind(
        "posed",
        POSED,
        "WanAnimateTransformer3DModel",
        "WanAnimatePipeline",
        "UniPCMultistepScheduler",
        True,
        _rounded("attn1", "attn2", "ffn.net.0.proj", "ffn.net.2"),
        _posed,
        posed_sizes,
        frozenset({"motion_encoder_size", "face_encoder_hidden_dim", "inject_face_latents_blocks"}),
        (PATCHES, "pose_patch_embedding.weight", "face_adapter.fuser_blocks.0.k_norm.weight"),
        POSED_MARKS,
    ),
    Kind(
        "driven",
        DRIVEN,
        "WanAnimate2Transformer3DModel",
        "WanAnimate2ModularPipeline",
        "DPMSolverMultistepScheduler",
        False,
        _rounded("self_attn", "cross_attn", "ffn.0", "ffn.2"),
        _driven,
        driven_sizes,
        frozenset({"refer_offset_t", "refer_offset_h", "refer_offset_w", "refer_stride"}),
        (PATCHES, "img_emb.proj.1.weight", "cross_attn.k_img.weight", "head.modulation"),
    ),
)


def folder_kind(folder: Path) -> Kind:
    """Return the kind that a transformer's folder is of, by its config.json.

    Where that names no class, the kind is the one whose own keys it has, all of them.

    Raises:
        ClipError: the file cannot be read, or describes none of them.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
        name = config.get(CLASS_NAME)
    except (OSError, ValueError, AttributeError) as error:
        raise ClipError(f"{path} cannot be read ({error}): get the model again") from error
    if CLASS_NAME in config:
        found = [kind for kind in KINDS if kind.class_name == name]
    else:
        found = [kind for kind in KINDS if kind.own_keys <= config.keys()]
    if len(found) == 1:
        return found[0]
    if CLASS_NAME in config:
        known = ", ".join(kind.class_name for kind in KINDS)
        raise ClipError(f"{path} describes a {name}, not one of {known}: use another model")
    lines = " or ".join(f'"{CLASS_NAME}": "{k.class_name}" ({k.title})' for k in KINDS)
    raise ClipError(
        f"{path} has no {CLASS_NAME}, and its other keys do not tell the model: add {lines}, or get"
        " the model again"
    )


def model_kind(model: "nn.Module") -> Kind:
    """Return the kind of a model of diffusers."""
    return next(kind for kind in KINDS if kind.class_name == type(model).__name__)


def named_kind(name: str) -> Kind:
    """Return the kind that settings call so."""
    return next(kind for kind in KINDS if kind.name == name)


def original_kind(tensors: Collection[str]) -> Kind:
    """Return the kind that original names are of; the last one where nothing marks another."""
    marked = (kind for kind in KINDS if any(name.startswith(kind.marks) for name in tensors))
    # A file may have no tensors at all.
    return next(marked, KINDS[-1])


def lora_names(kind: Kind, tensors: Collection[str]) -> Names:
    """Return the table of names that LoRAs call a kind's parameters by.

    These are the original ones, and those that diffusers has in another kind for the same layer:
    most LoRAs were made for plain image-to-video models, whose layers are called as the first
    kind's.
    """
    names = dict(kind.names(tensors))
    for other in (other for other in KINDS if other is not kind):
        for original, new in other.names(tensors).items():
            if original in names and len(new) == 1:
                names.setdefault(new[0], names[original])
    return names


def kind_fault(tensors: Collection[str], kind: Kind) -> str:
    """Return in words that original names are of another kind, "" where they may be of this one.

    Those of a plain image-to-video model are Wan-Animate-2's, too.
    """
    found = original_kind(tensors)
    foreign = found is not kind and all(any(n.endswith(e) for n in tensors) for e in found.ends)
    if not foreign:
        return ""
    return f"has the layers of {found.title}, not those of {kind.title}: use a file of that model"
