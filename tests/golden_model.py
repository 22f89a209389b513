"""The tiny official models of the golden data: their weights by rule, and their VAE."""

import json
import math
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

DATA = Path(__file__).parent / "data"


def weight_by_rule(name: str, shape: list[int]) -> torch.Tensor:
    """Return the golden data's value of the parameter of that original name."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) > 1:
        return noise if "motion_encoder" in name else noise / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.2 * noise if "norm" in name and name.endswith("weight") else 0.2 * noise


def original_weights(part: dict) -> dict[str, torch.Tensor]:
    """Return all weights of one model of the golden data, in original naming."""
    return {name: weight_by_rule(name, shape) for name, shape in part["parameters"].items()}


def transformer_part() -> dict:
    """Return config and parameter shapes of the official tiny transformer."""
    return json.loads((DATA / "transformer_original_names.json").read_text())


def encoder_parts() -> dict:
    """Return config and parameter shapes of text encoder, image encoder and VAE."""
    return json.loads((DATA / "encoders_original_names.json").read_text())


def write_original_transformer(folder: Path, shards: int = 3) -> dict[str, torch.Tensor]:
    """Write the transformer as the original checkpoint has it; return its tensors."""
    part = transformer_part()
    weights = original_weights(part)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(part["config"]))
    names = sorted(weights)
    for number in range(shards):
        shard = {name: weights[name] for name in names[number::shards]}
        save_file(shard, folder / f"diffusion_pytorch_model-{number + 1:05d}.safetensors")
    return weights


def enlarge(images: torch.Tensor, times: int = 64) -> torch.Tensor:
    """Return images enlarged by nearest neighbour along the last two axes."""
    return images.repeat_interleave(times, -1).repeat_interleave(times, -2)


def relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    difference = result.double() - expected.double()
    return float(difference.norm() / expected.double().norm())


class ToyCodec:
    """The golden data's VAE: block means and their repetition."""

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """Return latents (1, 16, 1 + F // 4, h / 8, w / 8) of a video (1, 3, F, h, w)."""
        small = F.avg_pool3d(video.float(), (1, 8, 8))
        groups = small[:, :, 1:].unflatten(2, (-1, 4)).mean(3)
        small = torch.cat((small[:, :, :1], groups), dim=2)
        channels = [small[:, c % 3] * (1 + c / 16) * (-1) ** c for c in range(16)]
        return torch.stack(channels, dim=1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the video of latents, enlarged and held."""
        small = latents[:, :3].clamp(-1, 1)
        frames = torch.cat((small[:, :, :1], small[:, :, 1:].repeat_interleave(4, 2)), dim=2)
        return enlarge(frames, 8)
