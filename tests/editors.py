"""A FLUX.1 Kontext pipeline of diffusers' and transformers' own classes, with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxTransformer2DModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel

from animate.demo.model import tiny_tokenizer

# By part: tiny ones, whose VAE still makes pictures 8 times as wide as their latents.
TINY = {
    "transformer": {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    },
    "vae": {"block_out_channels": (4, 4, 4, 4), "latent_channels": 4, "norm_num_groups": 2}
    | {"layers_per_block": 1},
    "text_encoder": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "projection_dim": 32},
    "text_encoder_2": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}
VAE = {"scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False}
VAE |= {"use_post_quant_conv": False, "mid_block_add_attention": False}
SCHEDULE = {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
SCHEDULE |= {"base_image_seq_len": 256, "max_image_seq_len": 4096}


def write_editor(
    folder: Path,
    sizes: dict[str, dict[str, Any]] = TINY,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> None:
    """Write the pipeline's folder, weights as their classes begin, made on `device`."""
    words, pieces = _clip_tokenizer(), tiny_tokenizer()
    vocabularies = {"text_encoder": len(words), "text_encoder_2": len(pieces)}
    for part, count in vocabularies.items():
        sizes = sizes | {part: {"vocab_size": count} | sizes[part]}
    torch.manual_seed(seed)
    blocks = len(sizes["vae"]["block_out_channels"])
    vae = VAE | sizes["vae"]
    vae |= {"down_block_types": ("DownEncoderBlock2D",) * blocks}
    vae |= {"up_block_types": ("UpDecoderBlock2D",) * blocks}
    build: dict[str, Callable[[], nn.Module]] = {
        "transformer": lambda: FluxTransformer2DModel(**sizes["transformer"]),
        "vae": lambda: AutoencoderKL(**vae),
        "text_encoder": lambda: CLIPTextModel(
            CLIPTextConfig(**sizes["text_encoder"], eos_token_id=words.eos_token_id)
        ),
        "text_encoder_2": lambda: T5EncoderModel(
            T5Config(**sizes["text_encoder_2"], feed_forward_proj="gated-gelu")
        ),
    }
    pipeline = FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULE),
        tokenizer=words,
        tokenizer_2=pieces,
        **{name: _built(make, device, dtype) for name, make in build.items()},
    )
    pipeline.save_pretrained(folder)


def _built(make: Callable[[], nn.Module], device: str, dtype: torch.dtype) -> nn.Module:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return make().eval()
    finally:
        torch.set_default_dtype(before)


def _clip_tokenizer() -> CLIPTokenizer:
    letters = [chr(number) for number in range(33, 127)]
    names = [*letters, *(f"{letter}</w>" for letter in letters)]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
