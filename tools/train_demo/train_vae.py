"""Train the VAE on scenes, skeletons and backgrounds: first pictures, then films."""

from collections import defaultdict
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from networks import MEAN, STD, VAE_FILE, Average, build_vae, keep, resume
from pool import scenes
from scenes import FRAMES, SIZES
from schedule import Reports, Run, learning_rate
from steps import Optimizer, Step
from whole_clips import arithmetic, decode, encode, start_from_pictures

# Films after this part of the stage, and then one batch in five is still of pictures.
FILMS_FROM = 0.15
PICTURES_EACH = 5
# What a batch shows, in groups of clips; with it, clips of a group, frames of a clip, their side.
KINDS = ("target", "pose", "target", "reference", "target", "background", "target", "target")
PICTURES, FILMS = (8, 1, 160), (1, FRAMES, 128)
RATE = 1.5e-3
# So that small mistakes of the transformer are small in the picture, too.
LATENT_NOISE = 0.05
SPREAD_WEIGHT = 0.1

Films = dict[str, list[torch.Tensor]]


def train_vae(folder: Path, run: Run, count: int, device: str, use_graph: bool) -> None:
    """Go on with the VAE in `folder` for one run, on `count` scenes of each mode."""
    torch.manual_seed(int(1e6 * run.start))
    films = _films(folder, count, device)
    vae = build_vae()
    start_from_pictures(vae)
    resume(vae, folder / VAE_FILE)
    vae.to(device)
    average = Average(vae, 0.998)
    trained = (p for p in vae.parameters() if p.requires_grad)
    optimizer = Optimizer(trained, device, betas=(0.9, 0.99), weight_decay=1e-4)
    steps = {shown: Step(optimizer, _loss_of(vae), use_graph) for shown in (PICTURES, FILMS)}
    squares: dict[tuple, list[torch.Tensor]] = defaultdict(list)
    reports = Reports()
    for step, done in run.steps():
        shown = FILMS if done >= FILMS_FROM and step % PICTURES_EACH else PICTURES
        rate = learning_rate(RATE, step, done)
        squares[shown].append(steps[shown](rate, _batch(films, *shown)))
        average.update()
        if reports.due(step):
            for (_, frames, _), values in squares.items():
                reached = _by_kind(torch.stack(values[-100:]).mean(dim=0))
                print(f"vae {done:.2f} step {step}, {frames} frames: {reached} dB", flush=True)
            squares.clear()
        if reports.keep_due():
            _keep(average, folder, films)
    _keep(average, folder, films)
    average.use()
    _judge(vae, films)


def _loss_of(vae: AutoencoderKLWan):
    """Return the loss of a batch (n, F, h, w, 3) uint8, with the mean square of each clip."""

    def loss(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        video = batch.float() / 127.5 - 1
        latents = encode(vae, video.to(dtype := arithmetic(video.device))).float()
        noisy = latents + LATENT_NOISE * torch.randn_like(latents)
        made = decode(vae, noisy.to(dtype)).float()
        # Black may be blacker than black, it is clamped.
        beyond = ((made < -1) & (video < -0.999)) | ((made > 1) & (video > 0.999))
        error = (made - video).masked_fill(beyond, 0)
        spread = latents.std(dim=(0, 1, 2, 3))
        held = SPREAD_WEIGHT * (spread - 1).square().mean()
        return _distance(error) + held, error.square().mean(dim=(1, 2, 3, 4))

    return loss


def _distance(error: torch.Tensor) -> torch.Tensor:
    """Return how far a video is off: its values, and its edges."""
    across, down = error.diff(dim=-2), error.diff(dim=-3)
    edges = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * edges


def _films(folder: Path, count: int, device: str) -> Films:
    """Return for each kind its films on the device, one tensor (n, F, h, w, 3) uint8 a mode."""
    films: Films = {kind: [] for kind in KINDS}
    for number, mode in enumerate(SIZES):
        made: Films = {kind: [] for kind in KINDS}
        for scene in scenes(
            folder / "photograph.npz", mode, range(number * count, (number + 1) * count)
        ):
            for kind, kept in made.items():
                frames = torch.from_numpy(getattr(scene, kind))
                if len(frames):
                    kept.append((frames if frames.ndim == 4 else frames[None]).to(device))
        for kind, kept in made.items():
            films[kind] += [torch.stack(kept)] if kept else []
    return films


def _batch(films: Films, clips: int, frames: int, side: int) -> torch.Tensor:
    """Return random parts of random films, (8 clips, frames, side, side, 3) uint8."""
    parts = []
    for kind in KINDS:
        sources = [source for source in films[kind] if source.shape[1] >= frames]
        # A reference is a picture.
        sources = sources or films["target"]
        source = sources[_below(len(sources))]
        n, f, h, w, _ = source.shape
        which = torch.randint(n, (clips,), device=source.device)
        first, top, left = _below(f - frames + 1), _below(h - side + 1), _below(w - side + 1)
        window = source[:, first : first + frames, top : top + side, left : left + side]
        parts.append(window[which])
    return torch.cat(parts)


def _below(limit: int) -> int:
    return torch.randint(limit, ()).item()


def _by_kind(squares: torch.Tensor) -> dict[str, float]:
    """Return the decibels of each kind of mean squares (8 clips,)."""
    groups = squares.unflatten(0, (len(KINDS), -1)).mean(dim=1)
    return {kind: _decibels(groups[KINDS.index(kind)]) for kind in dict.fromkeys(KINDS)}


def _decibels(square: torch.Tensor) -> float:
    return round((10 * torch.log10(4 / square)).item(), 1)


@torch.no_grad()
def _keep(average: Average, folder: Path, films: Films) -> None:
    """Write the averaged weights, and mean and spread of each latent channel."""
    with average.used() as vae:
        values = [encode(vae, video).flatten(0, -2) for video in _whole(films, 8)]
        latents = torch.cat(values).float()
        more = {MEAN: latents.mean(dim=0), STD: latents.std(dim=0)}
        keep(vae, folder / VAE_FILE, **more)


@torch.no_grad()
def _judge(vae: AutoencoderKLWan, films: Films) -> None:
    """Print what whole films lose, frame by frame."""
    for video in _whole(films, 4):
        made = decode(vae, encode(vae, video)).float().clamp(-1, 1)
        squares = (made - video).square().mean(dim=(0, 2, 3, 4))
        print("vae, each frame of whole films:", *map(_decibels, squares), "dB", flush=True)


def _whole(films: Films, count: int) -> list[torch.Tensor]:
    """Return `count` whole films of each mode, (n, F, h, w, 3) in -1..1."""
    videos = [film[:count].float() / 127.5 - 1 for film in films["target"]]
    return [video.to(arithmetic(video.device)) for video in videos]
