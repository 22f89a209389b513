"""The original checkpoint folder (Wan-AI/Wan2.2-Animate-14B) to a Diffusers folder.

The tensors stream from memory-mapped files to new ones of bounded size, so a conversion needs far
less memory than twice the largest file.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from animate.errors import ClipError
from animate.model.checkpoint import check_names, rename
from animate.model.folder import relighting_lora, write_model_index, write_schedule_and_processor
from animate.model.lora import adapter_config
from animate.model.original_names import (
    Names,
    image_encoder_names,
    text_encoder_names,
    transformer_names,
    vae_names,
)
from animate.model.stored import stored_tensors

TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.pth"
IMAGE_ENCODER = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
VAE = "Wan2.1_VAE.pth"
TOKENIZER = "google/umt5-xxl"
FACE_BLOCK_EVERY = 5
IMAGE_HEADS = 16
SHARD_BYTES = 1 << 30

Tensors = Iterable[tuple[str, torch.Tensor]]


def convert_checkpoint(source: Path, target: Path, image_heads: int = IMAGE_HEADS) -> None:
    """Write the Diffusers folder `target` from the original folder `source`; the index last.

    The image encoder's file does not tell its number of heads.

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
    """Convert the transformer's shards; its sizes come from the folder's config.json."""
    config = _transformer_config(source / "config.json")
    width, heads, layers = (config[key] for key in ("dim", "num_heads", "num_layers"))
    with torch.device("meta"):
        model = WanAnimateTransformer3DModel(
            num_attention_heads=heads,
            attention_head_dim=width // heads,
            added_kv_proj_dim=width,
            text_dim=config["text_dim"],
            freq_dim=config["freq_dim"],
            ffn_dim=config["ffn_dim"],
            num_layers=layers,
            inject_face_latents_blocks=FACE_BLOCK_EVERY,
        )
    names = transformer_names(layers, layers // FACE_BLOCK_EVERY)
    tensors = ((name, stored.read()) for name, stored in stored_tensors(source).items())
    _write(source, tensors, names, model, target)


def convert_text_encoder(source: Path, target: Path) -> None:
    """Convert the UMT5 encoder; its sizes come from the tensors."""
    tensors = _load(source)
    layers = _count(tensors, "blocks.")
    vocabulary, width = _shape(source, tensors, "token_embedding.weight")
    buckets, heads = _shape(source, tensors, "blocks.0.pos_embedding.embedding.weight")
    config = UMT5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=_shape(source, tensors, "blocks.0.attn.q.weight")[0] // heads,
        d_ff=_shape(source, tensors, "blocks.0.ffn.fc1.weight")[0],
        num_layers=layers,
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        dtype=tensors["token_embedding.weight"].dtype,
    )
    with torch.device("meta"):
        model = UMT5EncoderModel(config)
    _write(source, tensors.items(), text_encoder_names(layers), model, target)


def convert_image_encoder(source: Path, target: Path, heads: int) -> None:
    """Convert the image tower of CLIP; the text tower is not used."""
    visual = "visual."
    tensors = {k[len(visual) :]: v for k, v in _load(source).items() if k.startswith(visual)}
    layers = _count(tensors, "transformer.")
    width, _, patch, _ = _shape(source, tensors, "patch_embedding.weight")
    cells = _shape(source, tensors, "pos_embedding")[1] - 1
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=_shape(source, tensors, "transformer.0.mlp.0.weight")[0],
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=round(cells**0.5) * patch,
        patch_size=patch,
        hidden_act="gelu",
    )
    with torch.device("meta"):
        model = CLIPVisionModel(config)
    _write(source, tensors.items(), image_encoder_names(layers), model, target)


def convert_vae(source: Path, target: Path) -> None:
    """Convert the Wan 2.1 VAE."""
    tensors = _load(source)
    with torch.device("meta"):
        model = AutoencoderKLWan(base_dim=_shape(source, tensors, "encoder.conv1.weight")[0])
    _write(source, tensors.items(), vae_names(), model, target)


def _load(path: Path) -> dict[str, torch.Tensor]:
    """Return a .pth file's tensors, memory-mapped; as weights only, so it cannot run code."""
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:
        raise ClipError(f"{path} cannot be read ({error}): get the model again") from error


def _transformer_config(path: Path) -> dict:
    keys = {"dim", "num_heads", "num_layers", "text_dim", "freq_dim", "ffn_dim"}
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ClipError(f"{path} cannot be read ({error}): get the model again") from error
    if missing := sorted(keys - set(config)):
        raise ClipError(f"{path} is not the config of Wan2.2-Animate: it lacks {missing[0]}")
    return config


def _shape(source: Path, tensors: dict[str, torch.Tensor], name: str) -> torch.Size:
    if name not in tensors:
        raise ClipError(f"{source} is not a Wan2.2-Animate checkpoint: missing {name}")
    return tensors[name].shape


def _count(tensors: dict[str, torch.Tensor], prefix: str) -> int:
    """Return how many layers are stored as `{prefix}{number}.`."""
    return len({k.removeprefix(prefix).split(".")[0] for k in tensors if k.startswith(prefix)})


def _write(source: Path, tensors: Tensors, names: Names, model: nn.Module, target: Path) -> None:
    """Write the converted tensors and the model's config; check every name and shape."""
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    found: dict[str, torch.Size] = {}
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.safetensors*"):
        old.unlink()
    writer = _ShardWriter(target)
    for name, tensor in _renamed(tensors, names):
        # A vector may be stored with axes of length one around it.
        shape = expected.get(name)
        if shape is not None and _squeezed(tensor.shape) == _squeezed(shape):
            tensor = tensor.reshape(shape)
        found[name] = tensor.shape
        writer.add(name, tensor)
    check_names(str(source), expected, found)
    writer.close(_weights_name(model))
    if hasattr(model, "save_config"):
        model.save_config(target)
    else:
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(target)


def _renamed(tensors: Tensors, names: Names) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors:
        # An unknown name is passed on, for the check to name it.
        yield from rename(names, name, tensor) if name in names else [(name, tensor)]


def _squeezed(shape: torch.Size) -> list[int]:
    return [size for size in shape if size != 1]


def _weights_name(model: nn.Module) -> str:
    diffusers = hasattr(model, "save_config")
    return "diffusion_pytorch_model" if diffusers else "model"


class _ShardWriter:
    """Writes tensors to safetensors files of at most `SHARD_BYTES`, with the usual index."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._pending: dict[str, torch.Tensor] = {}
        self._files: list[list[str]] = []
        self._bytes = self._total = 0

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Take one tensor."""
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._bytes + size > SHARD_BYTES:
            self._flush()
        # Cloned, because parts of a split tensor share memory.
        self._pending[name] = tensor.clone(memory_format=torch.contiguous_format)
        self._bytes += size
        self._total += size

    def close(self, stem: str) -> None:
        """Give the files their final names and write the index."""
        self._flush()
        index: dict[str, str] = {}
        for number, names in enumerate(self._files):
            file = f"{stem}-{number + 1:05d}-of-{len(self._files):05d}.safetensors"
            self._part(number).replace(self._folder / file)
            index |= dict.fromkeys(names, file)
        content = {"metadata": {"total_size": self._total}, "weight_map": index}
        path = self._folder / f"{stem}.safetensors.index.json"
        path.write_text(json.dumps(content, indent=2) + "\n")

    def _flush(self) -> None:
        if self._pending:
            save_file(self._pending, self._part(len(self._files)), {"format": "pt"})
            self._files.append(list(self._pending))
            self._pending, self._bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number:05d}.safetensors"
