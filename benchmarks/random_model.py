"""Write a model folder with random weights, of full size (17 billion) or tiny, without text encoder.

PYTHONPATH=workflow/scripts python benchmarks/random_model.py MODEL [--tiny] [--stored bf16] ...

Random numbers come from the GPU where there is one. Shards are written by several threads.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanAnimateTransformer3DModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from animate.model.folder import write_model_index
from animate.model.prepare import write_tensors
from animate.model.stored import INDEX_SUFFIX
from animate.model.tiny import IMAGE_WIDTH, TRANSFORMER, random_parameter

# What differs from the classes' defaults, and what does for a model that a CPU runs.
FULL_TRANSFORMER = {"added_kv_proj_dim": 5120}
TINY_TRANSFORMER = TRANSFORMER | {"motion_encoder_size": 32}
TINY_VAE = {"base_dim": 8, "num_res_blocks": 1}
# ViT-H/14.
FULL_ENCODER = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
FULL_ENCODER |= {"num_attention_heads": 16, "hidden_act": "gelu", "patch_size": 14}
TINY_ENCODER = {"hidden_size": IMAGE_WIDTH, "intermediate_size": 64, "num_hidden_layers": 3}
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
) -> int:
    """Write random tensors for a model on the meta device, and their index; return their bytes.

    They are numbers of bf16, in whatever type they are stored, or with `rough` of fp32.
    """
    folder.mkdir(parents=True)
    shapes = [(name, parameter.shape) for name, parameter in model.named_parameters()]
    groups = [shapes[n : n + SHARD_TENSORS] for n in range(0, len(shapes), SHARD_TENSORS)]

    def write(number: int) -> dict[str, str]:
        tensors = {}
        for name, shape in groups[number]:
            values = random_parameter(name, shape, 0, device)
            tensors[name] = (values if rough else values.bfloat16()).cpu().to(stored)
        file = f"{stem}-{number + 1:05d}-of-{len(groups):05d}.safetensors"
        write_tensors(folder / file, tensors)
        return dict.fromkeys(tensors, file)

    with ThreadPoolExecutor(WRITERS) as pool:
        files = list(pool.map(write, range(len(groups))))
    placed = {name: file for names in files for name, file in names.items()}
    index = folder / f"{stem}{INDEX_SUFFIX}"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}, indent=2), "utf-8")
    return sum(shape.numel() for _, shape in shapes) * stored.itemsize


def main(arguments: argparse.Namespace) -> None:
    """Write the parts that sampling reads, and the index last."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny, folder, elsewhere = arguments.tiny, arguments.model, arguments.transformer_on
    layers = {"num_layers": arguments.layers} if arguments.layers else {}
    with torch.device("meta"):
        transformer = WanAnimateTransformer3DModel(
            **(TINY_TRANSFORMER if tiny else FULL_TRANSFORMER) | layers
        )
        vae = AutoencoderKLWan(**(TINY_VAE if tiny else {}))
        encoder = CLIPVisionModel(CLIPVisionConfig(**(TINY_ENCODER if tiny else FULL_ENCODER)))
    began = time.perf_counter()
    stem, own = "diffusion_pytorch_model", folder / "transformer"
    there = elsewhere or own
    stored = TYPES[arguments.stored]
    size = write_part(there, transformer, stem, device, stored, arguments.rough)
    transformer.save_config(there)
    size += write_part(folder / "vae", vae, stem, device)
    vae.save_config(folder / "vae")
    size += write_part(folder / "image_encoder", encoder, "model", device)
    encoder.config.save_pretrained(folder / "image_encoder")
    if elsewhere:
        own.symlink_to(elsewhere.resolve(), target_is_directory=True)
    write_model_index(folder)
    print(f"{folder}: {size / 1e9:.3f} GB in {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder to write; none of its parts exists")
    parser.add_argument("--tiny", action="store_true", help="for a CPU")
    parser.add_argument("--stored", choices=TYPES, default="fp32", help="type of the transformer")
    parser.add_argument("--rough", action="store_true", help="numbers that bf16 has to round")
    parser.add_argument("--layers", type=int, help="blocks: 5, 10, ... instead of all")
    parser.add_argument("--transformer-on", type=Path, help="folder to link, say on another disk")
    main(parser.parse_args())
