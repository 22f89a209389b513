"""The original checkpoint folder (Wan-AI/Wan2.2-Animate-14B) to a Diffusers folder.

The tensors stream from memory-mapped files to new ones of bounded size, so a conversion needs far
less memory than twice the largest file.
"""

import shutil
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from animate.errors import ClipError
from animate.weights.checkpoint import check_names, rename, same_but_for_ones
from animate.weights.kinds import model_kind, original_kind
from animate.weights.layout import (
    adapter_config,
    relighting_lora,
    write_model_index,
    write_schedule_and_processor,
)
from animate.weights.original_names import (
    Names,
    image_encoder_names,
    layer_count,
    text_encoder_names,
    vae_names,
)
from animate.weights.original_sizes import Shaped, tensor_shape
from animate.weights.storage.stored import stored_tensors
from animate.weights.storage.writing import NAMES_OF_TYPES, write_shards

TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.pth"
IMAGE_ENCODER = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
VAE = "Wan2.1_VAE.pth"
TOKENIZER = "google/umt5-xxl"
IMAGE_HEADS = 16

Tensors = Iterable[tuple[str, torch.Tensor]]


def convert_checkpoint(source: Path, target: Path, image_heads: int = IMAGE_HEADS) -> None:
    """Write the Diffusers folder `target` from the original folder `source`; the index last.

    All sizes are those of the tensors; only the image encoder's number of heads is in none.

    Raises:
        ClipError: a file is absent or damaged, or a tensor is missing, unexpected or misshapen.
    """
    (target / "model_index.json").unlink(missing_ok=True)
    convert_transformer(source, target / "transformer")
    convert_text_encoder(source / TEXT_ENCODER, target / "text_encoder")
    convert_image_encoder(source / IMAGE_ENCODER, target / "image_encoder", image_heads)
    convert_vae(source / VAE, target / "vae")
    if not (source / TOKENIZER / "tokenizer.json").is_file():
        raise ClipError(f"{source / TOKENIZER} has no tokenizer.json: get the model again")
    shutil.copytree(source / TOKENIZER, target / "tokenizer", dirs_exist_ok=True)
    if lora := relighting_lora(source):
        copy = target / lora.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        for path in (lora, adapter_config(lora)):
            if path.is_file():
                shutil.copyfile(path, copy.with_name(path.name))
    write_schedule_and_processor(target)
    write_model_index(target)


def convert_transformer(source: Path, target: Path) -> None:
    """Convert the transformer's shards; nothing is written when a tensor does not fit."""
    stored = stored_tensors(source)
    model, names = original_transformer(source, stored)
    check_transformer(source, stored, model, names)
    _write(source, ((name, s.read()) for name, s in stored.items()), names, model, target)


def original_transformer(source: Path | str, tensors: Shaped) -> tuple[nn.Module, Names]:
    """Return the model, on the meta device, that original tensors are for, and the table of names.

    Every size is that of a tensor, as far as any tells it.

    Raises:
        ClipError: a tensor that tells a size is missing, or heads do not fill the width.
    """
    kind = original_kind(tensors)
    sizes = kind.sizes(source, tensors)
    with torch.device("meta"):
        model = getattr(diffusers, kind.class_name)(**sizes)
    return model, kind.names(tensors)


def check_transformer(source: Path | str, tensors: Shaped, model: nn.Module, names: Names) -> None:
    """Raise a `ClipError` when the tensors do not become the model's; nothing is read of them."""
    expected = _expected(model)
    empty = ((name, torch.empty(t.shape, device="meta")) for name, t in tensors.items())
    found = {name: tensor.shape for name, tensor in _converted(empty, names, expected)}
    check_names(str(source), expected, found, model_kind(model).title)


def convert_text_encoder(source: Path, target: Path) -> None:
    """Convert the UMT5 encoder, in the number type that it is stored in."""
    tensors = _load(source)
    model, names = original_text_encoder(source, tensors)
    model.config.dtype = tensors["token_embedding.weight"].dtype
    _write(source, tensors.items(), names, model, target)


def original_text_encoder(source: Path, tensors: Shaped) -> tuple[UMT5EncoderModel, Names]:
    """Return the encoder, on the meta device, that original tensors are for, and their names."""
    layers = layer_count(tensors, "blocks.")
    vocabulary, width = tensor_shape(source, tensors, "token_embedding.weight", 2)
    buckets, heads = tensor_shape(source, tensors, "blocks.0.pos_embedding.embedding.weight", 2)
    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=tensor_shape(source, tensors, "blocks.0.attn.q.weight", 2)[0] // heads,
        d_ff=tensor_shape(source, tensors, "blocks.0.ffn.fc1.weight", 2)[0],
        num_layers=layers,
        num_heads=heads,
        relative_attention_num_buckets=buckets,
    )
    with torch.device("meta"):
        return UMT5EncoderModel(config), text_encoder_names(layers)


def convert_image_encoder(source: Path, target: Path, heads: int = IMAGE_HEADS) -> None:
    """Convert the image tower of CLIP; the text tower is not used."""
    visual = "visual."
    tensors = {k[len(visual) :]: v for k, v in _load(source).items() if k.startswith(visual)}
    model, names = original_image_encoder(source, tensors, heads)
    _write(source, tensors.items(), names, model, target)


def original_image_encoder(
    source: Path, tensors: Shaped, heads: int = IMAGE_HEADS
) -> tuple[CLIPVisionModel, Names]:
    """Return the encoder, on the meta device, that the image tower is for, and its names."""
    layers = layer_count(tensors, "transformer.")
    width, _, patch, _ = tensor_shape(source, tensors, "patch_embedding.weight", 4)
    cells = tensor_shape(source, tensors, "pos_embedding", 3)[1] - 1
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=tensor_shape(source, tensors, "transformer.0.mlp.0.weight", 2)[0],
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=round(cells**0.5) * patch,
        patch_size=patch,
        hidden_act="gelu",
    )
    with torch.device("meta"):
        return CLIPVisionModel(config), image_encoder_names(layers)


def convert_vae(source: Path, target: Path) -> None:
    """Convert the Wan 2.1 VAE."""
    tensors = _load(source)
    with torch.device("meta"):
        model = AutoencoderKLWan(
            base_dim=tensor_shape(source, tensors, "encoder.conv1.weight", 5)[0]
        )
    _write(source, tensors.items(), vae_names(), model, target)


def _load(path: Path) -> dict[str, torch.Tensor]:
    """Return a .pth file's tensors, memory-mapped; as weights only, so it cannot run code."""
    try:
        # PyTorch's format of before 2020 cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
        return {name: tensor for name, tensor in content.items() if torch.is_tensor(tensor)}
    except Exception as error:
        raise ClipError(f"{path} cannot be read ({error}): get the model again") from error


def _expected(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def _write(source: Path, tensors: Tensors, names: Names, model: nn.Module, target: Path) -> None:
    """Write the converted tensors and the model's config; check every name and shape."""
    expected = _expected(model)
    found: dict[str, torch.Size] = {}
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.safetensors*"):
        old.unlink()

    def checked() -> Tensors:
        for name, tensor in _converted(tensors, names, expected):
            if tensor.dtype not in NAMES_OF_TYPES:
                kinds = ", ".join(NAMES_OF_TYPES.values())
                raise ClipError(f"{source} has {name} as {tensor.dtype}, not as one of {kinds}")
            found[name] = tensor.shape
            yield name, tensor
        check_names(str(source), expected, found)

    write_shards(target, _weights_name(model), checked())
    if hasattr(model, "save_config"):
        model.save_config(target)
    else:
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(target)


def _converted(
    tensors: Tensors, names: Names, expected: dict[str, torch.Size]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors under their new names and, where only axes of length one differ, shapes."""
    for old, tensor in tensors:
        # What has no new name, or cannot be split, is passed on, for the check to name it.
        known = _splits(names, old, tensor)
        for name, part in rename(names, old, tensor) if known else [(old, tensor)]:
            shape = expected.get(name)
            fits = shape is not None and same_but_for_ones(part.shape, shape)
            yield name, part.reshape(shape) if fits else part


def _splits(names: Names, name: str, tensor: torch.Tensor) -> bool:
    """Return whether a tensor has new names and is cut evenly for them."""
    if not names.get(name):
        return name in names
    return tensor.ndim > 0 and tensor.shape[0] % len(names[name]) == 0


def _weights_name(model: nn.Module) -> str:
    return "diffusion_pytorch_model" if hasattr(model, "save_config") else "model"
