"""Small clips for the sampler: input videos, a tiny model and a settings file."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from animate.demo.model import TEXT_WIDTH, write_tiny_model
from animate.model.image import reference_features, save_features
from animate.model.text import save_prompt
from animate.video.files import VideoWriter, read_video

FACE_SIZE = 32
RATE = Fraction(30000, 1001)


def write_model(folder: Path, seed: int = 0) -> Path:
    """Write a tiny model whose face crops are small, for speed."""
    write_tiny_model(folder, seed, face_size=FACE_SIZE)
    return folder


def write_clip(
    folder: Path,
    model: Path,
    frames: int,
    mode: str = "animate",
    size: tuple[int, int] = (32, 32),
    **settings,
) -> Path:
    """Write a clip's inputs, of (width, height) `size`, and return its settings file."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(frames).integers(0, 255, (4, 4, 3), np.uint8)
    inputs = {"pose": _video(folder / "src_pose.mp4", noise, frames, size, "drawing")}
    inputs["face"] = _video(
        folder / "src_face.mp4", noise, frames, (FACE_SIZE, FACE_SIZE), "picture"
    )
    inputs["reference"] = folder / "src_ref.png"
    cv2.imwrite(str(inputs["reference"]), cv2.resize(noise, (40, 56)))
    inputs["features"] = folder / "src_ref.safetensors"
    save_features(inputs["features"], reference_features(model, inputs["reference"], *size))
    for name, seed in (("prompt", 1), ("negative_prompt", 2)):
        inputs[name] = folder / f"{name}.safetensors"
        generator = torch.Generator().manual_seed(seed)
        save_prompt(inputs[name], torch.randn(5, TEXT_WIDTH, generator=generator))
    if mode == "replace":
        inputs["background"] = _video(folder / "src_bg.mp4", noise, frames, size, "picture")
        mask = np.zeros((4, 4, 3), np.uint8)
        mask[1:3, 1:3] = 255
        inputs["mask"] = _video(folder / "src_mask.mp4", mask, frames, size, "mask")
    return _write_job(folder, model, mode, inputs, settings)


def write_driven_clip(
    folder: Path, model: Path, frames: int, size: tuple[int, int] = (32, 32), **settings
) -> Path:
    """Write the same for a model that sees the driving video itself."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(frames).integers(0, 255, (4, 4, 3), np.uint8)
    inputs = {"driving": _video(folder / "src_driving.mp4", noise, frames, size, "picture")}
    inputs["reference"], first = folder / "src_ref.png", folder / "driving.png"
    pictures = cv2.resize(noise, (40, 56)), next(read_video(inputs["driving"]))
    for role, path, picture in zip(
        ("features", "driving_features"), (inputs["reference"], first), pictures, strict=True
    ):
        cv2.imwrite(str(path), picture)
        inputs[role] = folder / f"{role}.safetensors"
        save_features(inputs[role], reference_features(model, path, *size))
    for seed, name in enumerate(("prompt", "negative_prompt", "driving_prompt"), start=1):
        inputs[name] = folder / f"{name}.safetensors"
        generator = torch.Generator().manual_seed(seed)
        save_prompt(inputs[name], torch.randn(5, TEXT_WIDTH, generator=generator))
    return _write_job(folder, model, "animate", inputs, {"log_scale": 0.0} | settings)


def _write_job(folder: Path, model: Path, mode: str, inputs: dict, settings: dict) -> Path:
    job = {
        "clip": folder.name,
        "mode": mode,
        "model": str(model),
        "inputs": {role: str(path) for role, path in inputs.items()},
        "output": str(folder / "sampled.mp4"),
        "record": str(folder / "sampling.json"),
        "journal": str(folder / ".journal"),
        "progress": str(folder / "progress.log"),
        "settings": {"steps": 1, **settings},
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(job))
    return path


def change_settings(path: Path, **settings) -> None:
    """Change settings in a settings file."""
    job = json.loads(path.read_text())
    job["settings"] |= settings
    path.write_text(json.dumps(job))


def result_frames(path: Path) -> np.ndarray:
    """Return the frames of the video that a settings file names."""
    return np.stack(list(read_video(Path(json.loads(path.read_text())["output"]))))


def _video(path: Path, tile: np.ndarray, frames: int, size: tuple[int, int], quality: str) -> Path:
    with VideoWriter(path, size, RATE, quality) as video:
        for index in range(frames):
            moved = np.roll(tile, index, axis=1)
            video.write(cv2.resize(moved, size, interpolation=cv2.INTER_NEAREST))
    return path
