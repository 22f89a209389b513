"""One file with a whole transformer, as other programs have it, and the numbers it stands for."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from animate.weights.original_names import Names

FP8 = torch.float8_e4m3fn
# What ComfyUI adds to the name of every tensor of a whole checkpoint.
PREFIX = "model.diffusion_model."
Tensors = dict[str, torch.Tensor]


def original_naming(folder: Path, names: Names) -> Tensors:
    """Return the weights of a part in the Diffusers layout by their original names."""
    weights = {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}
    return {
        old: torch.cat([weights[name] for name in new]) if len(new) > 1 else weights[new[0]].clone()
        for old, new in names.items()
        if new and new[0] in weights
    }


def is_large(name: str, tensor: torch.Tensor) -> bool:
    """Whether such files have a tensor in fewer bits: matrices of the blocks and the adapters."""
    return tensor.ndim == 2 and name.startswith(("blocks.", "face_adapter."))


def write_plain(path: Path, weights: Tensors, dtype: torch.dtype, prefix: str = "") -> Tensors:
    """Write all tensors in one type."""
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    save_file({prefix + name: tensor for name, tensor in stored.items()}, path)
    return {name: tensor.float() for name, tensor in stored.items()}


def write_scaled(path: Path, weights: Tensors, by_row: bool = False) -> Tensors:
    """Write large tensors in fp8 with their factors, all others in fp16."""
    stored: Tensors = {"scaled_fp8": torch.zeros(2, dtype=FP8)}
    numbers: Tensors = {}
    for name, tensor in weights.items():
        if is_large(name, tensor):
            scale = tensor.abs().amax(dim=1 if by_row else None, keepdim=by_row).float() / 448
            layer = name.removesuffix("weight")
            stored[name] = (tensor / scale).to(FP8)
            stored[f"{layer}scale_weight"] = scale
            stored[f"{layer}scale_input"] = torch.ones(())
            numbers[name] = stored[name].float() * scale
        else:
            stored[name] = tensor.half()
            numbers[name] = stored[name].float()
    save_file(stored, path)
    return numbers


def write_gguf(path: Path, weights: Tensors, level: str) -> Tensors:
    """Write large tensors in blocks of a level, Q8_0 or Q4_K and others, and the others in F32.

    Of levels that the package only reads, the blocks are random bytes with small factors.
    """
    import gguf

    kind = gguf.GGMLQuantizationType[level]
    numbers_of_block, bytes_of_block = gguf.GGML_QUANT_SIZES[kind]
    writer = gguf.GGUFWriter(path, "wan")
    numbers: Tensors = {}
    for name, tensor in weights.items():
        if not is_large(name, tensor):
            writer.add_tensor(name, tensor.numpy())
            numbers[name] = tensor
            continue
        data = tensor.numpy()
        if data.shape[-1] % numbers_of_block:
            # As ComfyUI's converter does: other rows, and the shape beside them.
            writer.add_array(f"comfy.gguf.orig_shape.{name}", list(data.shape))
            data = data.reshape(-1, numbers_of_block)
        try:
            blocks = gguf.quantize(data, kind)
        except NotImplementedError:
            count = data.size // numbers_of_block
            blocks = _random_blocks(name, len(data), count // len(data), bytes_of_block)
        writer.add_tensor(name, blocks, raw_dtype=kind)
        numbers[name] = torch.from_numpy(gguf.dequantize(blocks, kind)).reshape(tensor.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return numbers


def _random_blocks(name: str, rows: int, count: int, size: int) -> np.ndarray:
    generator = np.random.default_rng(sum(name.encode()))
    blocks = generator.integers(0, 256, (rows, count, size), np.uint8)
    # Q4_K: two factors in fp16 stand before the rest.
    blocks[..., :4] = np.frombuffer(np.array([0.01, 0.02], np.float16).tobytes(), np.uint8)
    return blocks.reshape(rows, count * size)
