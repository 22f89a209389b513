"""Train the transformer by flow matching (arXiv:2210.02747) on scenes of both modes."""

from itertools import cycle
from pathlib import Path

import torch
from torch import nn

from latents import Encoder, Examples
from networks import MOTION_FILE, TRANSFORMER_FILE, Average, build_transformer, keep, resume
from scenes import SIZES
from schedule import Run, learning_rate

BATCH = 16
RATE = 1.5e-3
SHIFT = 5.0
# This share of the examples has noise levels as they are, not shifted: details are made there.
PLAIN_LEVELS = 0.3


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
        with torch.autocast(noisy.device.type, torch.bfloat16):
            out = self.transformer(
                hidden_states=torch.cat((noisy, of.condition), dim=1),
                timestep=1000 * level,
                encoder_hidden_states=self._prompt.expand(len(noisy), -1, -1),
                encoder_hidden_states_image=of.image,
                pose_hidden_states=of.pose,
                face_pixel_values=of.motion.transpose(1, 2)[..., None, None],
            )
        return out.sample.float()


def train_transformer(
    folder: Path, run: Run, count: int, device: str, prompt: str, compiled: bool
) -> None:
    """Go on with the transformer in `folder` for one run, on `count` new scenes of each mode."""
    torch.manual_seed(1 + int(1e6 * run.start))
    encoder = Encoder(folder, device, prompt)
    # Other scenes in each run.
    first = 100_000 + int(1e6 * run.start)
    pools = [encoder.examples(mode, range(first, first + count)) for mode in SIZES]
    print(f"{sum(map(len, pools))} examples", flush=True)
    model = Velocity(encoder.constants.prompt).to(device)
    resume(model.transformer, folder / TRANSFORMER_FILE)
    resume(model.transformer.motion_encoder, folder / MOTION_FILE)
    if compiled:
        for block in model.transformer.blocks:
            block.compile()
    trained = [p for p in model.parameters() if p.requires_grad]
    average = Average(model.transformer, 0.999)
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    turns, losses = cycle(pools), []
    for step, done in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATE, step, done)
        pool = next(turns)
        batch = pool.pick(torch.randint(len(pool), (BATCH,), device=device))
        level = _levels(BATCH, device)
        noise = torch.randn_like(batch.latents)
        part = level.view(-1, 1, 1, 1, 1)
        velocity = model((1 - part) * batch.latents + part * noise, level, batch)
        # What becomes of the reference's own place is thrown away.
        loss = (velocity - (noise - batch.latents))[:, :, 1:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        average.update()
        losses.append(loss.detach())
        if step % 200 == 0:
            mean = torch.stack(losses[-200:]).mean().item()
            print(f"transformer {done:.2f} step {step}: loss {mean:.4f}", flush=True)
    keep(average.use(), folder / TRANSFORMER_FILE)


def _levels(count: int, device: str) -> torch.Tensor:
    """Return random noise levels, 0 to 1, most of them shifted towards noise as in sampling."""
    even = torch.rand(count, device=device)
    shifted = SHIFT * even / (1 + (SHIFT - 1) * even)
    return torch.where(torch.rand(count, device=device) < PLAIN_LEVELS, even, shifted)
