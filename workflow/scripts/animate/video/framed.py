"""Pictures in the model's frame as Wan-Animate-2 was trained on them: by Pillow, bars around."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

REFERENCE, DRIVING = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Part:
    """The part of a frame that a result shows, in pixels; H.264 in 4:2:0 has even sides."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """Return this part of a frame (h, w, 3)."""
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]

    def put_back(self, shown: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return a frame of `size` (w, h), black around what was `cut` out of it, uint8."""
        frame = np.zeros((size[1], size[0], 3), np.uint8)
        self.cut(frame)[:] = shown
        return frame


def inner_size(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a `source` picture that fills `target` in one direction, both (w, h)."""
    (w, h), (width, height) = source, target
    if width * h < height * w:
        return width, max(h * width // w, 1)
    return max(w * height // h, 1), height


def framed(picture: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 scaled whole to fit `size` (w, h), centred on black."""
    inner = inner_size(picture.shape[1::-1], size)
    left, top = _corner(inner, size)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    scaled = Image.fromarray(picture).resize(inner, resampling)
    canvas[top : top + inner[1], left : left + inner[0]] = np.asarray(scaled)
    return canvas


def shown_part(source: tuple[int, int], target: tuple[int, int]) -> Part:
    """Return where in a `target` frame a `source` picture is, both (w, h), without any black.

    Of an odd side the last pixel is left out.
    """
    inner = inner_size(source, target)
    width, height = (max(side - side % 2, 2) for side in inner)
    return Part(*_corner(inner, target), width, height)


def _corner(inner: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2


def bars(source: tuple[int, int], target: tuple[int, int]) -> float:
    """Return which share of a `target` frame is black around a `source` picture, both (w, h)."""
    width, height = inner_size(source, target)
    return 1 - width * height / (target[0] * target[1])
