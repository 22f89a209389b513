"""The kinds of transformer that can be sampled with: diffusers' class, and their tensors' names.

Nothing else that reads or writes weights knows which model they are of. Without PyTorch.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import ClipError
from animate.weights.original_names import Names, driven_names, layer_count, transformer_names

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Kind:
    """A kind of transformer.

    `title` is the model's, `class_name` that of its class in diffusers, `pipeline` and `scheduler`
    those of its pipeline there; `processor` tells whether the pipeline has a part of its own for
    images. `rounded` has the linear layers of a block that tokens pass in every step, which fp8 is
    for: the last one is the second of the feed-forward. `names` returns the table of original names
    for as many blocks as some names, original or diffusers', tell of. The original names of no kind
    later in `KINDS` begin with `mark`.
    """

    title: str
    class_name: str
    pipeline: str
    scheduler: str
    processor: bool
    rounded: tuple[str, ...]
    names: Callable[[Collection[str]], Names]
    mark: str = ""


def _posed(tensors: Collection[str]) -> Names:
    adapters = (layer_count(tensors, f"face_adapter.{part}") for part in ("", "fuser_blocks."))
    return transformer_names(layer_count(tensors, "blocks."), max(adapters))


def _driven(tensors: Collection[str]) -> Names:
    return driven_names(layer_count(tensors, "blocks."))


def _rounded(own: str, cross: str, up: str, down: str) -> tuple[str, ...]:
    """Return those layers by the names of the attentions and of the feed-forward's layers."""
    seen = (f"{own}.{layer}" for layer in ("to_q", "to_k", "to_v", "to_out.0"))
    return *seen, f"{cross}.to_q", f"{cross}.to_out.0", up, down


KINDS = (
    Kind(
        "Wan2.2-Animate",
        "WanAnimateTransformer3DModel",
        "WanAnimatePipeline",
        "UniPCMultistepScheduler",
        True,
        _rounded("attn1", "attn2", "ffn.net.0.proj", "ffn.net.2"),
        _posed,
        "face_adapter.",
    ),
    Kind(
        "Wan-Animate-2",
        "WanAnimate2Transformer3DModel",
        "WanAnimate2ModularPipeline",
        "DPMSolverMultistepScheduler",
        False,
        _rounded("self_attn", "cross_attn", "ffn.0", "ffn.2"),
        _driven,
    ),
)


def folder_kind(folder: Path) -> Kind:
    """Return the kind that a transformer's folder is of, by its config.json.

    Raises:
        ClipError: the file cannot be read, or describes none of them.
    """
    path = folder / "config.json"
    try:
        name = json.loads(path.read_text("utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError) as error:
        raise ClipError(f"{path} cannot be read ({error}): get the model again") from error
    for kind in KINDS:
        if kind.class_name == name:
            return kind
    known = ", ".join(kind.class_name for kind in KINDS)
    raise ClipError(f"{path} describes a {name}, not one of {known}: use another model")


def model_kind(model: "nn.Module") -> Kind:
    """Return the kind of a model of diffusers."""
    return next(kind for kind in KINDS if kind.class_name == type(model).__name__)


def original_kind(tensors: Collection[str]) -> Kind:
    """Return the kind that original names are of; the last one where nothing marks another."""
    marked = (kind for kind in KINDS if any(name.startswith(kind.mark) for name in tensors))
    # A file may have no tensors at all.
    return next(marked, KINDS[-1])
