"""Write a model folder with random weights, of full size or tiny; it has no text encoder.

PYTHONPATH=workflow/scripts python benchmarks/random_model.py FOLDER [--model wan-animate-2] ...

Random numbers come from the GPU where there is one. Shards are written by several threads.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    WanAnimate2Transformer3DModel,
    WanAnimateTransformer3DModel,
)
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from animate.demo import tiny2
from animate.demo.model import IMAGE_WIDTH, TRANSFORMER, random_parameter
from animate.weights.layout import write_model_index
from animate.weights.storage.stored import INDEX_SUFFIX
from animate.weights.storage.writing import write_tensors

# What differs from the classes' defaults, and what does for a model that a CPU runs.
FULL_TRANSFORMER = {"added_kv_proj_dim": 5120}
# Of fewer blocks, two GPUs would hold no less when they share them.
TINY_TRANSFORMER = TRANSFORMER | {"motion_encoder_size": 32, "num_layers": 10}
# Of each model the class, what it is built of, whole and tiny, and the width of a tiny encoder.
MODELS = {
    "wan2.2-animate-14b": (
        WanAnimateTransformer3DModel,
        FULL_TRANSFORMER,
        TINY_TRANSFORMER,
        IMAGE_WIDTH,
    ),
    "wan-animate-2": (
        WanAnimate2Transformer3DModel,
        {},
        tiny2.TRANSFORMER,
        tiny2.IMAGE_WIDTH,
    ),
}
TINY_VAE = {"base_dim": 8, "num_res_blocks": 1}
# ViT-H/14.
FULL_ENCODER = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
FULL_ENCODER |= {"num_attention_heads": 16, "hidden_act": "gelu", "patch_size": 14}
TINY_ENCODER = {"intermediate_size": 64, "num_hidden_layers": 3}
TINY_ENCODER |= {"num_attention_heads": 4, "patch_size": 14}

SHARD_TENSORS, WRITERS = 16, 8
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def write_part(
    folder: Path,
    model: nn.Module,
    stem: str,
    device: torch.device,
    stored: torch.dtype = torch.float32,
    rough: bool = False,
    most: int | None = None,
) -> int:
    """Write a model of the meta device with random tensors; return their bytes.

    They are numbers of bf16, in whatever type they are stored, or with `rough` of fp32. They are
    one file, or files of at most `most` tensors and an index.
    """
    folder.mkdir(parents=True)
    shapes = [(name, parameter.shape) for name, parameter in model.named_parameters()]
    most = most or len(shapes)
    groups = [shapes[n : n + most] for n in range(0, len(shapes), most)]
    names = [f"{stem}-{n + 1:05d}-of-{len(groups):05d}.safetensors" for n in range(len(groups))]
    names = names if len(groups) > 1 else [f"{stem}.safetensors"]

    def write(number: int) -> None:
        tensors = {}
        for name, shape in groups[number]:
            values = random_parameter(name, shape, 0, device)
            tensors[name] = (values if rough else values.bfloat16()).cpu().to(stored)
        write_tensors(folder / names[number], tensors)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(len(groups))))
    save_config = getattr(model, "save_config", None) or model.config.save_pretrained
    save_config(folder)
    if len(groups) > 1:
        files = {name: f for f, group in zip(names, groups, strict=True) for name, _ in group}
        text = json.dumps({"metadata": {}, "weight_map": files}, indent=2)
        (folder / f"{stem}{INDEX_SUFFIX}").write_text(text, "utf-8")
    return sum(shape.numel() for _, shape in shapes) * stored.itemsize


def main(arguments: argparse.Namespace) -> None:
    """Write the parts that sampling reads, and the index last."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny, folder, elsewhere = arguments.tiny, arguments.folder, arguments.transformer_on
    kind, full, small, width = MODELS[arguments.model]
    config = small if tiny else full
    config = config | ({"num_layers": arguments.layers} if arguments.layers else {})
    encoder = TINY_ENCODER | {"hidden_size": width} if tiny else FULL_ENCODER
    with torch.device("meta"):
        transformer = kind(**config)
        vae = AutoencoderKLWan(**(TINY_VAE if tiny else {}))
        encoder = CLIPVisionModel(CLIPVisionConfig(**encoder))
    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    place, stem = elsewhere or folder / "transformer", "diffusion_pytorch_model"
    form = TYPES[arguments.stored], arguments.rough, SHARD_TENSORS
    size = write_part(place, transformer, stem, device, *form)
    if elsewhere:
        (folder / "transformer").symlink_to(elsewhere.resolve(), target_is_directory=True)
    size += write_part(folder / "vae", vae, stem, device)
    size += write_part(folder / "image_encoder", encoder, "model", device)
    write_model_index(folder)
    print(f"{folder}: {size / 1e9:.3f} GB in {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to write; none of its parts exists")
    parser.add_argument("--model", choices=MODELS, default=next(iter(MODELS)))
    parser.add_argument("--tiny", action="store_true", help="for a CPU")
    parser.add_argument("--stored", choices=TYPES, default="fp32", help="type of the transformer")
    parser.add_argument("--rough", action="store_true", help="numbers that bf16 has to round")
    parser.add_argument("--layers", type=int, help="blocks instead of all; 5, 10, ... of the first")
    parser.add_argument("--transformer-on", type=Path, help="folder to link, say on another disk")
    main(parser.parse_args())
