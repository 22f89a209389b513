"""The tiny official models of the golden data: their weights by rule, and their VAE."""

import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from animate.model.vae import in_range
from animate.weights.convert import convert_transformer
from whole_model import load_transformer

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


def deepened(part: dict, layers: int) -> dict:
    """Return the transformer with its first block repeated, each copy with weights of its own."""
    parameters = dict(part["parameters"])
    for name, shape in part["parameters"].items():
        if name.startswith("blocks.0."):
            parameters |= {name.replace("0", str(n), 1): shape for n in range(layers)}
        elif name.startswith("face_adapter.fuser_blocks.0."):
            parameters |= {name.replace("0", str(n), 1): shape for n in range(layers // 5)}
    return {"config": {**part["config"], "num_layers": layers}, "parameters": parameters}


def write_original_transformer(folder: Path, shards: int = 3, part: dict | None = None) -> None:
    """Write the transformer (or another `part`) as the original checkpoint has it."""
    part = part or transformer_part()
    weights = original_weights(part)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(part["config"]))
    names = sorted(weights)
    for number in range(shards):
        shard = {name: weights[name] for name in names[number::shards]}
        save_file(shard, folder / f"diffusion_pytorch_model-{number + 1:05d}.safetensors")


def enlarge(images: torch.Tensor, times: int = 64) -> torch.Tensor:
    """Return images enlarged by nearest neighbour along the last two axes."""
    return images.repeat_interleave(times, -1).repeat_interleave(times, -2)


def relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
    difference = result.double() - expected.double()
    return float(difference.norm() / expected.double().norm())


class ToyCodec:
    """The golden data's VAE: block means and their repetition."""

    def encode(self, *parts: torch.Tensor) -> torch.Tensor:
        """Return latents (1, 16, 1 + F // 4, h / 8, w / 8) of a video's parts (1, 3, n, h, w)."""
        video = torch.cat([in_range(part) for part in parts], dim=2)
        small = F.avg_pool3d(video, (1, 8, 8))
        groups = small[:, :, 1:].unflatten(2, (-1, 4)).mean(3)
        small = torch.cat((small[:, :, :1], groups), dim=2)
        channels = [small[:, c % 3] * (1 + c / 16) * (-1) ** c for c in range(16)]
        return torch.stack(channels, dim=1)

    def encode_both(self, one, other) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the latents of two videos."""
        return self.encode(*one), self.encode(*other)

    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the video of latents, enlarged and held."""
        small = latents[:, :3].clamp(-1, 1)
        frames = torch.cat((small[:, :, :1], small[:, :, 1:].repeat_interleave(4, 2)), dim=2)
        yield enlarge(frames, 8)


class RememberedMotion(nn.Module):
    """The golden faces' motion, recorded from the real encoder, which takes a second per face.

    `golden_motion.safetensors` is written by running this file; a slow test compares it with the
    real encoder.
    """

    size = 512

    def __init__(self):
        super().__init__()
        stored = load_file(DATA / "golden_motion.safetensors")
        faces = map(self._key, stored["faces"])
        self._motion = dict(zip(faces, stored["motion"], strict=True))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Return the motion (n, 512) of faces (n, 3, 512, 512)."""
        small = faces[:, :, ::64, ::64].contiguous()
        return torch.stack([self._motion[self._key(face)] for face in small]).to(faces.dtype)

    @staticmethod
    def _key(face: torch.Tensor) -> bytes:
        return face.bfloat16().float().numpy().tobytes()


def golden_faces() -> torch.Tensor:
    """Return every distinct face of the golden data, (n, 3, 8, 8), and the black one."""
    forward = np.load(DATA / "transformer_forward.npz")
    faces = [torch.from_numpy(forward[f"{i}_face"])[0].transpose(0, 1) for i in range(3)]
    for path in sorted(DATA.glob("generate_*.npz")):
        pixels = torch.from_numpy(np.load(path)["face"]).permute(0, 3, 1, 2)
        faces.append(pixels.float() / 127.5 - 1)
    return torch.cat([*faces, torch.full((1, 3, 8, 8), -1.0)])


def record_motion(encoder: nn.Module) -> None:
    """Write the motion of all golden faces."""
    faces = golden_faces()
    with torch.inference_mode():
        motion = torch.cat([encoder(enlarge(batch)) for batch in faces.split(4)])
    save_file({"faces": faces, "motion": motion}, DATA / "golden_motion.safetensors")


def load_golden_transformer(folder: Path, part: dict | None = None):
    """Return the golden transformer, from original naming through our conversion in `folder`."""
    write_original_transformer(folder / "original", part=part)
    convert_transformer(folder / "original", folder / "diffusers")
    return load_transformer(folder / "diffusers", torch.float32, torch.device("cpu"))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        record_motion(load_golden_transformer(Path(temporary)).motion_encoder)
