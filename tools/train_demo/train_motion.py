"""Train the motion encoder to see how far a mouth is open, whatever the face's colours.

The transformer then learns what to do with what it sees. Trained together, neither would start.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from networks import MOTION_FILE, build_transformer, keep
from pool import scenes
from schedule import Reports, Run, learning_rate

BATCH = 64
RATE = 2e-3
FACE_SIZE = 512


def train_motion(folder: Path, run: Run, count: int, device: str) -> None:
    """Train the encoder anew for one run on the faces of `count` scenes."""
    torch.manual_seed(0)
    made = list(scenes(folder / "photograph.npz", "animate", range(count)))
    faces = torch.cat([torch.from_numpy(scene.face) for scene in made]).permute(0, 3, 1, 2)
    open_by = torch.cat([torch.from_numpy(scene.mouth) for scene in made]).float() / 255
    faces, open_by = faces.to(device), open_by.to(device)
    encoder = build_transformer().motion_encoder.to(device)
    head = nn.Linear(encoder.motion_synthesis_weight.shape[0], 1).to(device)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.99))
    errors, reports = [], Reports()
    for step, done in run.steps():
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATE, step, done)
        pick = torch.randint(len(faces), (BATCH,), device=device)
        seen = head(encoder(enlarged(faces[pick])))[:, 0]
        loss = F.mse_loss(seen, open_by[pick])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        errors.append(loss.detach())
        if reports.due(step):
            error = torch.stack(errors[-50:]).mean().sqrt().item()
            print(f"motion {done:.2f} step {step}: off by {error:.3f} of 1", flush=True)
    keep(encoder, folder / MOTION_FILE)


def enlarged(faces: torch.Tensor) -> torch.Tensor:
    """Return crops (n, 3, h, w) uint8 as the encoder takes them, (n, 3, 512, 512) in -1..1."""
    video = faces.float() / 127.5 - 1
    return F.interpolate(video, size=(FACE_SIZE, FACE_SIZE), mode="bilinear", align_corners=False)
