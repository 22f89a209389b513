"""A driving frame as it is shown, and where the pixels of the model's frame lie in it."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from animate.video.letterbox import Letterbox


@dataclass(frozen=True)
class View:
    """The whole driving frame in `size`; the bars that the model's frame may have are left out.

    `source` is the upright driving frame, `model` the model's frame in which it is fitted, `size`
    the picture shown; all (width, height) in pixels.
    """

    source: tuple[int, int]
    model: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def within(
        cls, source: tuple[int, int], model: tuple[int, int], box: tuple[int, int]
    ) -> "View":
        """Return the view that fills a box (width, height) in one direction, with even sides."""
        inner = Letterbox(source, model).inner
        scale = min(box[0] / inner[0], box[1] / inner[1])
        return cls(source, model, tuple(max(int(side * scale) // 2 * 2, 2) for side in inner))

    @cached_property
    def _placed(self) -> Letterbox:
        return Letterbox(self.source, self.model)

    @cached_property
    def scale(self) -> np.ndarray:
        """Pixels of the picture per pixel of the model's frame, float (2,)."""
        return np.array(self.size) / self._placed.inner

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """Return a driving frame (h, w, 3) uint8 in the view's size, a copy."""
        if frame.shape[1::-1] == self.size:
            return frame.copy()
        fewer = self.size[0] < frame.shape[1]
        return cv2.resize(
            frame, self.size, interpolation=cv2.INTER_AREA if fewer else cv2.INTER_LINEAR
        )

    def of_model(self, picture: np.ndarray, interpolation: int = cv2.INTER_NEAREST) -> np.ndarray:
        """Return of a mask or picture in the model's size what lies over the driving frame."""
        (x, y), (w, h) = self._placed.offset, self._placed.inner
        cut = picture[y : y + h, x : x + w]
        return (
            cut if self.size == (w, h) else cv2.resize(cut, self.size, interpolation=interpolation)
        )

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map (..., 3) points, x and y in 0..1 of the driving frame and a score, to pixels."""
        return points * (*self.size, 1)

    def from_model(self, points: np.ndarray) -> np.ndarray:
        """Map x and y (..., 2) in pixels of the model's frame to pixels of the view."""
        return (np.asarray(points, float) - self._placed.offset) * self.scale

    def from_source(self, points: np.ndarray) -> np.ndarray:
        """Map x and y (..., 2) in pixels of the upright driving frame to pixels of the view."""
        return np.asarray(points, float) * self.size / self.source

    def span(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the first and last pixel of the model's frame that is shown, for x and for y."""
        (x, y), (w, h) = self._placed.offset, self._placed.inner
        return (x, x + w - 1), (y, y + h - 1)
