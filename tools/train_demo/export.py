"""Write the trained networks as the workflow ships them: model folders, half precision."""

from pathlib import Path

import torch

from networks import (
    MEAN,
    MOTION_FILE,
    STD,
    TRANSFORMER_FILE,
    VAE_FILE,
    build_transformer,
    build_vae,
    resume,
)


def export(folder: Path) -> None:
    """Write `folder`/weights, to take the place of workflow/scripts/animate/demo/weights."""
    transformer = build_transformer()
    resume(transformer, folder / TRANSFORMER_FILE)
    resume(transformer.motion_encoder, folder / MOTION_FILE)
    vae = build_vae()
    beside = resume(vae, folder / VAE_FILE)
    vae.register_to_config(latents_mean=beside[MEAN].tolist(), latents_std=beside[STD].tolist())
    for name, network in {"transformer": transformer, "vae": vae}.items():
        network.to(torch.float16).save_pretrained(folder / "weights" / name)
        size = sum(f.stat().st_size for f in (folder / "weights" / name).iterdir())
        print(f"{name}: {size / 1e6:.1f} MB", flush=True)
