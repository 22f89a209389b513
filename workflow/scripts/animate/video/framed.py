"""Pictures in the model's frame as Wan-Animate-2 was trained on them: by Pillow, bars around."""

import numpy as np
from PIL import Image

REFERENCE, DRIVING = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def inner_size(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a `source` picture that fills `target` in one direction, both (w, h)."""
    (w, h), (width, height) = source, target
    if width * h < height * w:
        return width, max(h * width // w, 1)
    return max(w * height // h, 1), height


def framed(picture: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 scaled whole to fit `size` (w, h), centred on black."""
    inner = inner_size(picture.shape[1::-1], size)
    left, top = ((outer - own) // 2 for outer, own in zip(size, inner, strict=True))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    scaled = Image.fromarray(picture).resize(inner, resampling)
    canvas[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return canvas


def bars(source: tuple[int, int], target: tuple[int, int]) -> float:
    """Return which share of a `target` frame is black around a `source` picture, both (w, h)."""
    width, height = inner_size(source, target)
    return 1 - width * height / (target[0] * target[1])
