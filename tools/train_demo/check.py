"""Sample a few scenes that were not trained on, print how near they come, and draw a sheet."""

from pathlib import Path

import cv2
import numpy as np
import torch

from animate.sampling.solvers import make_solver
from latents import Encoder, Examples
from networks import TRANSFORMER_FILE, resume
from pool import scenes
from scenes import FRAMES, SIZES, Scene
from train_transformer import SHIFT, Velocity

STEPS = 8
# No stage trains on these.
SEEDS = range(90_000, 90_003)
TILE = 200, 240


@torch.no_grad()
def check(folder: Path, device: str, prompt: str) -> None:
    """Write sheet.jpg: a row for each scene with reference, and skeleton, target and result."""
    encoder = Encoder(folder, device, prompt)
    model = Velocity(encoder.constants.prompt).to(device)
    resume(model.transformer, folder / TRANSFORMER_FILE)
    rows = []
    for mode in SIZES:
        made = list(scenes(folder / "photograph.npz", mode, SEEDS))
        examples = encoder.encode(made, 0)
        results = _pictures(encoder, _sample(model, examples))
        best = _pictures(encoder, examples.latents)
        for scene, result, possible in zip(made, results, best, strict=True):
            reached = [_decibels(scene.target, frames) for frames in (result, possible)]
            print("{}: {:.1f} dB from the target; the VAE alone {:.1f} dB".format(mode, *reached))
            rows.append(_row(scene, result))
    picture = np.concatenate(rows)[..., ::-1]
    cv2.imwrite(str(folder / "sheet.jpg"), picture, (cv2.IMWRITE_JPEG_QUALITY, 90))


def _pictures(encoder: Encoder, latents: torch.Tensor) -> np.ndarray:
    video = encoder.codec.decode(latents[:, :, 1:])
    return (127.5 * (video + 1)).round().byte().permute(0, 2, 3, 4, 1).cpu().numpy()


def _sample(model: Velocity, examples: Examples) -> torch.Tensor:
    torch.manual_seed(0)
    latents = torch.randn_like(examples.latents)
    solver = make_solver("euler", STEPS, SHIFT, latents.device)
    for timestep in solver.timesteps:
        level = (timestep / 1000).expand(len(latents))
        velocity = model(latents, level, examples)
        latents = solver.step(velocity, timestep, latents, return_dict=False)[0]
    return latents


def _decibels(target: np.ndarray, result: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.square(target.astype(float) - result).mean())


def _row(scene: Scene, result: np.ndarray) -> np.ndarray:
    tiles = [scene.reference]
    for frame in (0, FRAMES // 2, FRAMES - 1):
        tiles += [scene.pose[frame], scene.target[frame], result[frame]]
    return np.concatenate([cv2.resize(tile, TILE) for tile in tiles], axis=1)
