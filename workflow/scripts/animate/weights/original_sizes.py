"""The sizes of a transformer, read off its tensors: a published config.json is not needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from animate.errors import ClipError
from animate.weights.original_names import layer_count

if TYPE_CHECKING:
    import torch

# What the models are called.
POSED, DRIVEN = "Wan2.2-Animate", "Wan-Animate-2"
FACE_BLOCK_EVERY = 5
# Of Wan-Animate-2's, whose tensors do not tell it.
HEAD_WIDTH = 128


class HasShape(Protocol):
    """A tensor, or what a file's header says of one."""

    shape: "torch.Size"


Shaped = Mapping[str, HasShape]


def tensor_shape(
    source: Path | str, tensors: Shaped, name: str, axes: int, title: str = POSED
) -> "torch.Size":
    """Return the shape of an original tensor.

    Raises:
        ClipError: it is missing or has not so many axes; `title` is the model's, for the message.
    """
    if name not in tensors:
        raise ClipError(f"{source} is not a {title} checkpoint: missing {name}")
    shape = tensors[name].shape
    if len(shape) != axes:
        raise ClipError(
            f"{source} is not a {title} checkpoint: misshapen {name} {tuple(shape)} instead of"
            f" {axes} axes"
        )
    return shape


def posed_sizes(source: Path | str, tensors: Shaped) -> dict[str, Any]:
    """Return what `WanAnimateTransformer3DModel` is built of, for original tensors.

    The width of a head is that of the face adapter's norm.

    Raises:
        ClipError: a tensor that tells a size is missing, or heads do not fill the width.
    """
    width = tensor_shape(source, tensors, "patch_embedding.weight", 5)[0]
    head_norm = "face_adapter.fuser_blocks.0.q_norm.weight"
    head_width = tensor_shape(source, tensors, head_norm, 1)[0]
    if not head_width or width % head_width:
        raise ClipError(
            f"{source} is not a {POSED} checkpoint: {head_norm} has {head_width} numbers,"
            f" which do not divide the width, {width}"
        )
    return {
        "num_attention_heads": width // head_width,
        "attention_head_dim": head_width,
        "added_kv_proj_dim": width,
        **_common_sizes(source, tensors, "blocks.0.ffn.0.weight", POSED),
        "inject_face_latents_blocks": FACE_BLOCK_EVERY,
    }


def driven_sizes(source: Path | str, tensors: Shaped) -> dict[str, Any]:
    """Return what `WanAnimate2Transformer3DModel` is built of, for original tensors; as above."""
    width = tensor_shape(source, tensors, "patch_embedding.weight", 5, DRIVEN)[0]
    heads = max(width // HEAD_WIDTH, 1)
    if width % (2 * heads):
        raise ClipError(
            f"{source} is not a {DRIVEN} checkpoint: heads of {HEAD_WIDTH} do not fill its"
            f" width, {width}"
        )
    wrapped = "blocks.0.block.ffn.0.weight"
    first = wrapped if wrapped in tensors else "blocks.0.ffn.0.weight"
    return {"dim": width, "num_heads": heads, **_common_sizes(source, tensors, first, DRIVEN)}


def _common_sizes(
    source: Path | str, tensors: Shaped, feed_forward: str, title: str
) -> dict[str, int]:
    def size(name: str, axis: int) -> int:
        return tensor_shape(source, tensors, name, 2, title)[axis]

    return {
        "text_dim": size("text_embedding.0.weight", 1),
        "freq_dim": size("time_embedding.0.weight", 1),
        "ffn_dim": size(feed_forward, 0),
        "num_layers": layer_count(tensors, "blocks."),
    }
