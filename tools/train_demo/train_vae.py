"""Train the VAE on scenes, skeletons and backgrounds: first pictures, then short films."""

from itertools import cycle
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from networks import MEAN, STD, VAE_FILE, Average, build_vae, keep, resume
from pool import scenes
from scenes import SIZES
from schedule import Run, learning_rate

SIDE = 160
# Films after this part of the stage, and then in two batches of three: they train what follows a
# first frame. Clips of a batch, and frames of a clip.
FILMS_FROM = 0.15
PICTURES, FILMS = (40, 1), (8, 13)
RATE = 1.2e-3
# So that small mistakes of the transformer are small in the picture, too.
LATENT_NOISE = 0.05
SPREAD_WEIGHT = 0.1
# What the batches show, in turn: most are the pictures that are looked at.
KINDS = ("target", "target", "pose", "target", "background")


def train_vae(folder: Path, run: Run, count: int, device: str) -> None:
    """Go on with the VAE in `folder` for one run, on `count` scenes of each mode."""
    torch.manual_seed(int(1e6 * run.start))
    films = _films(folder, count, device)
    vae = build_vae().to(device)
    resume(vae, folder / VAE_FILE)
    average = Average(vae, 0.998)
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    kinds = cycle(KINDS)
    errors: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
    for step, done in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATE, step, done)
        kind = next(kinds)
        shown = FILMS if done >= FILMS_FROM and step % 3 else PICTURES
        video = _batch(films[kind], *shown)
        with torch.autocast(device, torch.bfloat16):
            latents = vae.encode(video).latent_dist.mode()
            noisy = latents + LATENT_NOISE * torch.randn_like(latents)
            error = vae.decode(noisy).sample.float() - video
        spread = latents.float().std(dim=(0, 2, 3, 4))
        loss = _distance(error) + SPREAD_WEIGHT * (spread - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update()
        errors[kind].append(error.detach().square().mean())
        if step % 200 == 0:
            reached = {kind: _decibels(values[-20:]) for kind, values in errors.items() if values}
            print(
                f"vae {done:.2f} step {step}: {reached} dB, spread {spread.mean():.2f}", flush=True
            )
    vae = average.use()
    mean, std = _statistics(vae, films["target"])
    keep(vae, folder / VAE_FILE, **{MEAN: mean, STD: std})


def _films(folder: Path, count: int, device: str) -> dict[str, list[torch.Tensor]]:
    """Return for each kind its films on the device, one tensor (n, 3, F, h, w) uint8 a mode."""
    films: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
    for number, mode in enumerate(SIZES):
        seeds = range(number * count, (number + 1) * count)
        made = list(scenes(folder / "photograph.npz", mode, seeds))
        for kind, kept in films.items():
            if len(getattr(made[0], kind)):
                stacked = torch.stack([torch.from_numpy(getattr(scene, kind)) for scene in made])
                kept.append(stacked.permute(0, 4, 1, 2, 3).to(device))
    return films


def _batch(films: list[torch.Tensor], clips: int, frames: int) -> torch.Tensor:
    """Return random parts of random films, (clips, 3, frames, side, side) in -1..1."""
    source = films[torch.randint(len(films), ()).item()]
    n, _, f, h, w = source.shape
    parts = []
    for _ in range(clips):
        which, first, top, left = (
            torch.randint(limit, ()).item()
            for limit in (n, f - frames + 1, h - SIDE + 1, w - SIDE + 1)
        )
        parts.append(source[which, :, first : first + frames, top : top + SIDE, left : left + SIDE])
    return torch.stack(parts).float() / 127.5 - 1


def _distance(error: torch.Tensor) -> torch.Tensor:
    """Return how far a video is off: its values, and its edges."""
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    edges = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * edges


def _decibels(squares: list[torch.Tensor]) -> float:
    return round((10 * torch.log10(4 / torch.stack(squares).mean())).item(), 1)


@torch.no_grad()
def _statistics(vae: AutoencoderKLWan, films: list[torch.Tensor]) -> tuple:
    """Print what whole films lose, and return mean and spread of each latent channel."""
    latents = []
    for source in films:
        for clip in source[:4]:
            video = clip[None].float() / 127.5 - 1
            encoded = vae.encode(video).latent_dist.mode()
            error = (vae.decode(encoded).sample - video).square().mean(dim=(0, 1, 3, 4))
            print("vae, each frame of a film:", *(_decibels([e]) for e in error[::4]), "dB")
            latents.append(encoded.transpose(0, 1).flatten(1))
    values = torch.cat(latents, dim=1)
    return values.mean(dim=1), values.std(dim=1)
