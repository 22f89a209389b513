"""Write the trained networks as a model folder, as the workflow loads it."""

from pathlib import Path

import torch

from animate.demo.model import write_tiny_model
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
    """Write `folder`/model, half precision; text and image encoder are those of the tiny model."""
    write_tiny_model(folder / "model")
    transformer = build_transformer()
    resume(transformer, folder / TRANSFORMER_FILE)
    resume(transformer.motion_encoder, folder / MOTION_FILE)
    vae = build_vae()
    beside = resume(vae, folder / VAE_FILE)
    vae.register_to_config(latents_mean=beside[MEAN].tolist(), latents_std=beside[STD].tolist())
    for name, network in {"transformer": transformer, "vae": vae}.items():
        for old in (folder / "model" / name).iterdir():
            old.unlink()
        network.to(torch.float16).save_pretrained(folder / "model" / name)
        size = sum(f.stat().st_size for f in (folder / "model" / name).iterdir())
        print(f"{name}: {size / 1e6:.1f} MB", flush=True)
