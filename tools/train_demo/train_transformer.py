"""Train the transformer by flow matching (arXiv:2210.02747) on scenes of both modes."""

from itertools import cycle
from pathlib import Path

import torch
from torch import nn

from latents import KNOWN_FRAMES, Encoder, Examples, Scenes
from networks import MOTION_FILE, TRANSFORMER_FILE, Average, build_transformer, keep, resume
from scenes import SIZES
from schedule import Reports, Run, learning_rate
from steps import Optimizer, Step

BATCH = 16
RATE = 1.5e-3
SHIFT = 5.0
# This share of the examples has noise levels as they are, not shifted: details are made there.
PLAIN_LEVELS = 0.3
# New scenes take the place of the oldest ones after so many steps.
RENEWED_EVERY = 25


class Velocity(nn.Module):
    """The transformer on examples whose faces were turned into motion before."""

    def __init__(self, prompt: torch.Tensor):
        super().__init__()
        self.transformer = build_transformer()
        self.transformer.motion_encoder.requires_grad_(False)
        self.transformer.motion_encoder.forward = lambda motion: motion.flatten(1)
        self._prompt = prompt

    def forward(self, noisy: torch.Tensor, level: torch.Tensor, of: Examples) -> torch.Tensor:
        """Return the velocity (n, 16, 1 + T, h, w) at noise levels (n,) of 0 to 1, fp32."""
        # CPUs have no fast bf16.
        with torch.autocast(noisy.device.type, torch.bfloat16, enabled=noisy.is_cuda):
            out = self.transformer(
                hidden_states=torch.cat((noisy, of.condition), dim=1),
                timestep=1000 * level,
                encoder_hidden_states=self._prompt.expand(len(noisy), -1, -1),
                encoder_hidden_states_image=of.image,
                pose_hidden_states=of.pose,
                face_pixel_values=of.motion.transpose(1, 2)[..., None, None],
                # All at once: the motion is known, see above.
                motion_encode_batch_size=of.motion[..., 0].numel(),
            )
        return out.sample.float()


def train_transformer(
    folder: Path, run: Run, count: int, device: str, prompt: str, use_graph: bool
) -> None:
    """Go on with the transformer in `folder` for one run.

    It begins with `count` scenes of each mode, and takes in new ones as fast as they are made.
    """
    torch.manual_seed(1 + int(1e6 * run.start))
    encoder = Encoder(folder, device, prompt)
    # Other scenes in each run.
    first = 100_000 + int(1e6 * run.start)
    coming = {mode: Scenes(folder, mode, first) for mode in SIZES}
    pools = {mode: encoder.pool(scenes, count) for mode, scenes in coming.items()}
    print(f"{sum(map(len, pools.values()))} examples", flush=True)
    model = Velocity(encoder.constants.prompt).to(device)
    resume(model.transformer, folder / TRANSFORMER_FILE)
    resume(model.transformer.motion_encoder, folder / MOTION_FILE)
    trained = (p for p in model.parameters() if p.requires_grad)
    average = Average(model.transformer, 0.999)
    optimizer = Optimizer(trained, device, betas=(0.9, 0.98), weight_decay=0.01)
    steps = {mode: Step(optimizer, _loss_of(model), use_graph) for mode in SIZES}
    turns, losses, renewed = cycle(SIZES), {mode: [] for mode in SIZES}, 0
    reports = Reports()
    for step, done in run.steps():
        mode = next(turns)
        pool = pools[mode]
        batch = pool.pick(torch.randint(len(pool), (BATCH,), device=device))
        figures = steps[mode](learning_rate(RATE, step, done), *vars(batch).values())
        losses[mode].append(figures)
        average.update()
        if step % RENEWED_EVERY == RENEWED_EVERY - 1 and (made := coming[mode].ready()):
            known = KNOWN_FRAMES[renewed // len(SIZES) % len(KNOWN_FRAMES)]
            pool.renew(encoder.encode(made, known))
            renewed += 1
        if reports.due(step):
            means = {m: round(torch.stack(v).mean().item(), 4) for m, v in losses.items() if v}
            print(f"transformer {done:.2f} step {step}: {means}, {renewed} renewed", flush=True)
            losses = {mode: [] for mode in SIZES}
        if reports.keep_due():
            with average.used() as transformer:
                keep(transformer, folder / TRANSFORMER_FILE)
    keep(average.use(), folder / TRANSFORMER_FILE)
    for scenes in coming.values():
        scenes.close()


def _loss_of(model: Velocity):
    """Return the loss of the tensors of a batch of examples."""

    def loss(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = Examples(*tensors)
        level = _levels(len(batch), batch.latents.device)
        noise = torch.randn_like(batch.latents)
        part = level.view(-1, 1, 1, 1, 1)
        velocity = model((1 - part) * batch.latents + part * noise, level, batch)
        # What becomes of the reference's own place is thrown away.
        mean = (velocity - (noise - batch.latents))[:, :, 1:].square().mean()
        return mean, mean

    return loss


def _levels(count: int, device: torch.device) -> torch.Tensor:
    """Return random noise levels, 0 to 1, most of them shifted towards noise as in sampling."""
    even = torch.rand(count, device=device)
    shifted = SHIFT * even / (1 + (SHIFT - 1) * even)
    return torch.where(torch.rand(count, device=device) < PLAIN_LEVELS, even, shifted)
