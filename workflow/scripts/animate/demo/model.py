"""A model with Wan2.2-Animate's layout and classes, tiny, with random weights: it makes noise."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from animate.weights.layout import RELIGHTING_LORA, write_model_index, write_schedule_and_processor
from animate.weights.original_names import BLOCK_LAYERS

TEXT_WIDTH = 32
IMAGE_WIDTH = 32
LORA_RANK = 4
LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,"

TRANSFORMER = {
    "num_attention_heads": 4,
    "attention_head_dim": 16,
    "added_kv_proj_dim": 64,
    "image_dim": IMAGE_WIDTH,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 32,
    "ffn_dim": 128,
    "num_layers": 5,
    "face_encoder_hidden_dim": 32,
    "motion_style_dim": 32,
    "motion_encoder_dim": 32,
    # Two channels at 512x512: the motion encoder would otherwise be most of a demo's time.
    "motion_encoder_channel_sizes": {
        str(2**n): size
        for n, size in zip(range(2, 11), (32, 32, 32, 16, 8, 4, 2, 2, 2), strict=True)
    },
}


def write_tiny_model(folder: Path, seed: int = 0, face_size: int = 512) -> None:
    """Write the model folder; the same seed gives the same bytes. The index is written last.

    The published model's `face_size`, the side of the face crops, is 512; tests take less.
    """
    transformer = TRANSFORMER | {"motion_encoder_size": face_size}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").unlink(missing_ok=True)
    write_part(folder / "transformer", seed, lambda: WanAnimateTransformer3DModel(**transformer))
    write_vae(folder, seed)
    write_encoders(folder, seed)
    write_schedule_and_processor(folder)
    torch.save({"state_dict": _relighting_lora(seed)}, folder / RELIGHTING_LORA)
    write_model_index(folder)


def write_vae(folder: Path, seed: int = 0) -> None:
    """Write the VAE; the same seed gives the same bytes."""
    write_part(folder / "vae", seed, lambda: AutoencoderKLWan(base_dim=2, num_res_blocks=1))


def write_encoders(folder: Path, seed: int = 0) -> None:
    """Write tokenizer, text encoder and image encoder; the same seed gives the same bytes."""
    write_text_encoder(folder, seed)
    write_part(folder / "image_encoder", seed, lambda: CLIPVisionModel(image_config(IMAGE_WIDTH)))


def write_text_encoder(folder: Path, seed: int = 0) -> None:
    """Write the text encoder and its tokenizer; the same seed gives the same bytes."""
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    config = _text_config(len(tokenizer))
    write_part(folder / "text_encoder", seed, lambda: UMT5EncoderModel(config))


def tiny_tokenizer() -> T5TokenizerFast:
    """Return a T5 tokenizer whose pieces are letters, and bytes for all other characters."""
    pieces = ["<pad>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS]
    backend = Tokenizer(
        Unigram([(p, 0.0 if i < 3 else -3.0) for i, p in enumerate(pieces)], 2, True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=backend, extra_ids=0)


def randomise(module: nn.Module, seed: int) -> None:
    """Fill the parameters in place with noise that keeps activations of the order of one."""
    for name, parameter in module.named_parameters():
        parameter.data.copy_(random_parameter(name, parameter.shape, seed))


def random_parameter(
    name: str, shape: torch.Size, seed: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return a parameter's noise, fp32; each has its own generator, so no other changes it."""
    generator = torch.Generator(device).manual_seed(seed + sum(name.encode()) + shape.numel())
    noise = torch.randn(shape, generator=generator, device=device)
    if name.endswith("gamma") or (name.endswith("weight") and len(shape) == 1):
        return 1 + 0.2 * noise
    if len(shape) == 1:
        return 0.2 * noise
    if name.startswith("motion_encoder"):
        return noise
    return noise / shape[1:].numel() ** 0.5


def write_part(folder: Path, seed: int, build: Callable[[], nn.Module]) -> None:
    """Write a part of a model with noise for parameters, in the type that they are built in."""
    model = build()
    randomise(model, seed)
    model.save_pretrained(folder)


def image_config(width: int, layers: int = 3) -> CLIPVisionConfig:
    """Return what a tiny image encoder is built of, whose features have this width."""
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
    )


def _text_config(vocabulary: int) -> UMT5Config:
    return UMT5Config(
        vocab_size=vocabulary, d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )


def _relighting_lora(seed: int) -> dict[str, torch.Tensor]:
    """Return a LoRA with the official file's names, for every linear layer of the blocks."""
    width = TRANSFORMER["num_attention_heads"] * TRANSFORMER["attention_head_dim"]
    generator = torch.Generator().manual_seed(seed)
    lora = {}
    for n in range(TRANSFORMER["num_layers"]):
        for layer in BLOCK_LAYERS:
            if layer == "norm3":
                continue
            rows = TRANSFORMER["ffn_dim"] if layer == "ffn.0" else width
            columns = TRANSFORMER["ffn_dim"] if layer == "ffn.2" else width
            for side, shape in (("A", (LORA_RANK, columns)), ("B", (rows, LORA_RANK))):
                noise = torch.randn(shape, generator=generator)
                lora[f"blocks.{n}.{layer}.lora_{side}.weight"] = 0.1 * noise
    return lora
