"""Fit a picture into a frame of another shape: scaled whole, centred, padded with black."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Letterbox:
    """The placement of a `source` picture in a `target` frame, both (width, height) in pixels."""

    source: tuple[int, int]
    target: tuple[int, int]

    @property
    def inner(self) -> tuple[int, int]:
        """Size in pixels of the scaled picture; it fills the target in one direction."""
        (w, h), (width, height) = self.source, self.target
        if h / w > height / width:
            return max(int(height / h * w), 1), height
        return width, max(int(width / w * h), 1)

    @property
    def offset(self) -> tuple[int, int]:
        """Left and top padding in pixels."""
        return (self.target[0] - self.inner[0]) // 2, (self.target[1] - self.inner[1]) // 2

    def image(self, picture: np.ndarray, interpolation: int | None = None) -> np.ndarray:
        """Return `picture` (h, w) or (h, w, 3) placed in the target, same dtype.

        Without `interpolation` (a cv2 flag) it averages areas when the frame has fewer pixels than
        the picture and is bilinear otherwise, as the model's training frames were.
        """
        if interpolation is None:
            fewer = self.target[0] * self.target[1] < self.source[0] * self.source[1]
            interpolation = cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
        if self.source == self.target:
            return picture
        (x, y), (w, h) = self.offset, self.inner
        framed = np.zeros((self.target[1], self.target[0], *picture.shape[2:]), picture.dtype)
        framed[y : y + h, x : x + w] = cv2.resize(picture, (w, h), interpolation=interpolation)
        return framed

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 3) points, x and y in 0..1 of the picture and a score, to target pixels."""
        mapped = np.array(points, np.float64)
        mapped[..., :2] = mapped[..., :2] * self.inner + self.offset
        return mapped

    def shares(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 3) points back: x and y in target pixels to 0..1 of the picture."""
        mapped = np.array(points, np.float64)
        mapped[..., :2] = (mapped[..., :2] - self.offset) / self.inner
        return mapped
