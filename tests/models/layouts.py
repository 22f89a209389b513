"""A tiny model in both published layouts, small only where a converted checkpoint may be."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from animate.demo.model import randomise, tiny_tokenizer
from animate.weights import convert
from animate.weights.layout import RELIGHTING_LORAS, write_model_index, write_schedule_and_processor
from animate.weights.original_names import (
    image_encoder_names,
    text_encoder_names,
    transformer_names,
    vae_names,
)
from animate.weights.original_sizes import FACE_BLOCK_EVERY
from onnx_files import write_detector, write_pose
from transformer_files import original_naming

WIDTH, HEADS, LAYERS, TEXT, FFN, FREQUENCIES, IMAGE = 32, 2, 5, 32, 64, 32, 1280
# Files of the pose network: the network, and its weights beside it.
POSE_FILES = 394
UNUSED = (
    "README.md",
    "configuration.json",
    "xlm-roberta-large/model.safetensors",
    "xlm-roberta-large/pytorch_model.bin",
    "xlm-roberta-large/sentencepiece.bpe.model",
    "xlm-roberta-large/tokenizer.json",
)
REPOSITORIES = "Wan-AI/Wan2.2-Animate-14B-Diffusers", "Wan-AI/Wan2.2-Animate-14B"


def write_diffusers(folder: Path) -> None:
    """Write the Diffusers layout, without the relighting LoRA, as published."""
    tokenizer = tiny_tokenizer()
    text = UMT5Config(
        vocab_size=len(tokenizer), d_model=TEXT, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )
    image = CLIPVisionConfig(
        hidden_size=IMAGE,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=convert.IMAGE_HEADS,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
    )
    transformer = WanAnimateTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        added_kv_proj_dim=WIDTH,
        text_dim=TEXT,
        freq_dim=FREQUENCIES,
        ffn_dim=FFN,
        num_layers=LAYERS,
    )
    parts = {
        "transformer": transformer,
        "vae": AutoencoderKLWan(base_dim=8),
        "text_encoder": UMT5EncoderModel(text),
        "image_encoder": CLIPVisionModel(image),
    }
    for name, module in parts.items():
        randomise(module, seed=0)
        module.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    write_schedule_and_processor(folder)
    write_model_index(folder)


def write_original(diffusers: Path, folder: Path) -> None:
    """Write the same weights as the original checkpoint has them, and its relighting LoRAs."""
    folder.mkdir(parents=True)
    config = {"_class_name": "WanAnimateModel", "dim": WIDTH, "num_heads": HEADS}
    (folder / "config.json").write_text(json.dumps(config))
    names = transformer_names(LAYERS, LAYERS // FACE_BLOCK_EVERY)
    _write_shards(original_naming(diffusers / "transformer", names), folder)
    text = original_naming(diffusers / "text_encoder", text_encoder_names(2))
    torch.save(text, folder / convert.TEXT_ENCODER)
    torch.save(original_naming(diffusers / "vae", vae_names()), folder / convert.VAE)
    visual = original_naming(diffusers / "image_encoder", image_encoder_names(2))
    visual["pos_embedding"] = visual["pos_embedding"][None]
    clip = {f"visual.{name}": tensor for name, tensor in visual.items()}
    clip |= {"textual.head.0.weight": torch.zeros(2, 2), "log_scale": torch.zeros(())}
    torch.save(clip, folder / convert.IMAGE_ENCODER)
    shutil.copytree(diffusers / "tokenizer", folder / convert.TOKENIZER)
    lora = {
        "blocks.0.self_attn.q.lora_A.weight": torch.ones(4, WIDTH),
        "blocks.0.self_attn.q.lora_B.weight": torch.ones(WIDTH, 4),
    }
    stored, pickled = (folder / name for name in RELIGHTING_LORAS)
    torch.save({"state_dict": lora}, pickled)
    stored.parent.mkdir()
    save_file({f"base_model.model.{name}": tensor for name, tensor in lora.items()}, stored)
    (stored.parent / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 4}))


def write_process_checkpoint(folder: Path) -> None:
    """Write what the original repository has beside the model: detectors, and what nobody needs."""
    networks = folder / "process_checkpoint"
    write_detector(networks / "det" / "yolov10m.onnx", np.zeros((300, 6)))
    pose = networks / "pose2d" / "vitpose_h_wholebody.onnx" / "end2end.onnx"
    write_pose(pose, "batch", external=POSE_FILES - 1)
    others = ["process_checkpoint/sam2/sam2_hiera_large.pt", *UNUSED]
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 100)


def _write_shards(tensors: dict[str, torch.Tensor], folder: Path, count: int = 4) -> None:
    """Write safetensors files of the published names, and their index."""
    stem, names = "diffusion_pytorch_model", sorted(tensors)
    places = {}
    for number in range(count):
        shard = {name: tensors[name] for name in names[number::count]}
        file = f"{stem}-{number + 1:05d}-of-{count:05d}.safetensors"
        save_file(shard, folder / file)
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))


def write_lora(folder: Path) -> None:
    """Write a LoRA as PEFT does, its alpha in a file beside it."""
    folder.mkdir(parents=True)
    lora = {
        "blocks.0.self_attn.q.lora_A.weight": torch.ones(2, WIDTH),
        "blocks.0.self_attn.q.lora_B.weight": torch.ones(WIDTH, 2),
    }
    save_file(lora, folder / "style.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 1}))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its name there."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
