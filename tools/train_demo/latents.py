"""Scenes as the transformer sees them: latents, masks and motion, made once and kept on the GPU."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import CLIPVisionModel

from animate.demo.model import write_tiny_model
from animate.model.image import encode_reference
from animate.model.parts import load_part
from animate.model.text import encode_prompt
from animate.model.wan import TEXT_TOKENS
from animate.sampling.conditions.latents import background_mask, fold_mask
from networks import MEAN, MOTION_FILE, STD, VAE_FILE, build_transformer, build_vae, resume
from pool import scenes
from scenes import Scene
from train_motion import enlarged
from whole_clips import arithmetic, decode, encode

# How many conditioning frames a scene starts from, and how often.
KNOWN_FRAMES = (0, 0, 1, 1, 5)
# Scenes that are encoded together, that wait for it at most, and that a run makes at most.
GROUP, READY, MOST = 8, 32, 40_000
LONGEST_WAIT = 120


class Codec:
    """The trained VAE with standardised latents; videos (n, 3, F, h, w) in -1..1."""

    def __init__(self, folder: Path, device: str):
        vae = build_vae()
        kept = resume(vae, folder / VAE_FILE)
        self.vae: AutoencoderKLWan = vae.to(device).eval().requires_grad_(False)
        self.mean, self.std = (kept[n].to(device).view(1, -1, 1, 1, 1) for n in (MEAN, STD))

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """Return latents (n, 16, 1 + (F - 1) / 4, h / 8, w / 8), fp32."""
        frames = video.permute(0, 2, 3, 4, 1).to(arithmetic(video.device))
        latents = encode(self.vae, frames).permute(0, 4, 1, 2, 3).float()
        return (latents - self.mean) / self.std

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the video of latents."""
        inner = (
            (latents * self.std + self.mean).permute(0, 2, 3, 4, 1).to(arithmetic(latents.device))
        )
        return decode(self.vae, inner).permute(0, 4, 1, 2, 3).float().clamp(-1, 1)


class Constants:
    """What the untrained encoders of the demo's model say: of a prompt, and of a reference."""

    def __init__(self, folder: Path, device: str, prompt: str):
        if not (folder / "tiny/model_index.json").exists():
            write_tiny_model(folder / "tiny")
        embeds = encode_prompt(folder / "tiny", prompt).float()
        padded = torch.zeros(1, TEXT_TOKENS, embeds.shape[1])
        padded[0, : len(embeds)] = embeds
        self.prompt = padded.to(device)
        encoder = load_part(CLIPVisionModel, folder / "tiny/image_encoder", torch.float32)
        self._encoder: nn.Module = encoder.to(device)

    @torch.no_grad()
    def image(self, references: torch.Tensor) -> torch.Tensor:
        """Return features (n, 257, width) of references (n, 3, h, w) in -1..1."""
        return encode_reference(self._encoder, references)


@dataclass(frozen=True)
class Examples:
    """N scenes: `latents` (N, 16, 1 + T, h, w) of reference and target, `condition` (N, 20, 1 + T,
    h, w), `pose` (N, 16, T, h, w), `motion` (N, F, n), `image` (N, 257, width)."""

    latents: torch.Tensor
    condition: torch.Tensor
    pose: torch.Tensor
    motion: torch.Tensor
    image: torch.Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def pick(self, indices: torch.Tensor) -> "Examples":
        """Return those scenes, in fp32."""
        return Examples(**{name: values[indices].float() for name, values in vars(self).items()})

    def renew(self, others: "Examples") -> None:
        """Put others in place of as many scenes, the first ones, which become the last."""
        for name, values in vars(self).items():
            kept = values.roll(-len(others), 0)
            kept[-len(others) :] = getattr(others, name)
            values.copy_(kept)


class Scenes:
    """Endless new scenes of a mode, made by other processes meanwhile."""

    def __init__(self, folder: Path, mode: str, first_seed: int):
        self._queue: Queue[Scene] = Queue(READY)
        self._ended = False
        self._source = scenes(folder / "photograph.npz", mode, range(first_seed, first_seed + MOST))
        Thread(target=self._fill, daemon=True).start()

    def _fill(self) -> None:
        with closing(self._source):
            for scene in self._source:
                if self._ended:
                    return
                self._queue.put(scene)

    def next(self, count: int) -> list[Scene]:
        """Wait for `count` scenes; raises `Empty` when none come any more."""
        return [self._queue.get(timeout=LONGEST_WAIT) for _ in range(count)]

    def ready(self) -> list[Scene]:
        """Return a group of scenes if it is made already, else none."""
        return self.next(GROUP) if self._queue.qsize() >= GROUP else []

    def close(self) -> None:
        """Make no more."""
        self._ended = True
        while not self._queue.empty():
            self._queue.get()


class Encoder:
    """Makes examples of scenes."""

    def __init__(self, folder: Path, device: str, prompt: str):
        self.folder, self.device = folder, device
        self.codec, self.constants = Codec(folder, device), Constants(folder, device, prompt)
        motion = build_transformer().motion_encoder
        resume(motion, folder / MOTION_FILE)
        self._motion = motion.to(device).eval().requires_grad_(False)

    def pool(self, coming: Scenes, count: int) -> Examples:
        """Return the examples of `count` scenes, on the device in bf16."""
        parts = []
        for start in range(0, count, GROUP):
            made = coming.next(min(GROUP, count - start))
            parts.append(self.encode(made, KNOWN_FRAMES[len(parts) % len(KNOWN_FRAMES)]))
        names = vars(parts[0])
        return Examples(
            **{n: torch.cat([getattr(p, n).to(torch.bfloat16) for p in parts]) for n in names}
        )

    @torch.no_grad()
    def encode(self, made: list[Scene], known: int) -> Examples:
        """Return examples that start from the first `known` frames of their targets."""
        target, pose = self._videos([s.target for s in made]), self._videos([s.pose for s in made])
        reference = self._videos([scene.reference[None] for scene in made])
        given, masks = torch.zeros_like(target), torch.zeros(len(made), *_cells(target))
        if len(made[0].background):
            given = self._videos([scene.background for scene in made])
            person = [255 * scene.mask[..., None].repeat(3, axis=-1) for scene in made]
            masks = torch.stack([background_mask(mask) for mask in person])
        given[:, :, :known] = target[:, :, :known]
        masks[:, :known] = 1
        folded = torch.cat([fold_mask(mask) for mask in masks]).to(self.device)
        still = self.codec.encode(reference)
        first = torch.cat((torch.ones_like(still[:, :4]), still), dim=1)
        rest = torch.cat((folded, self.codec.encode(given)), dim=1)
        faces = torch.cat([torch.from_numpy(s.face) for s in made]).permute(0, 3, 1, 2)
        motion = self._motion(enlarged(faces.to(self.device)))
        return Examples(
            latents=torch.cat((still, self.codec.encode(target)), dim=2),
            condition=torch.cat((first, rest), dim=2),
            pose=self.codec.encode(pose),
            motion=motion.unflatten(0, (len(made), -1)),
            image=self.constants.image(reference[:, :, 0]),
        )

    def _videos(self, frames: list[np.ndarray]) -> torch.Tensor:
        stacked = torch.from_numpy(np.stack(frames)).to(self.device)
        return stacked.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _cells(video: torch.Tensor) -> tuple[int, int, int]:
    frames, height, width = video.shape[2:]
    return frames, height // 8, width // 8
