"""The canvas on which a picture is edited: of a size that editors know, in the picture's shape."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from animate.errors import ClipError

# Editors were trained on pictures of about a megapixel; their sides are multiples of 16 or 32.
AREA, MULTIPLE = 1024 * 1024, 32
# Their sides as shares of a square's, in the shapes that editors were trained on.
SIDES = (10 / 16, 25 / 16)
# An editor that answers in another shape than it was given has stretched the picture.
SAME_SHAPE = 0.01


@dataclass(frozen=True)
class Canvas:
    """(width, height) of a canvas, and where the picture lies on it: left, top, right, bottom."""

    size: tuple[int, int]
    box: tuple[int, int, int, int]

    def paint(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture, uint8 RGB (h, w, 3), on the canvas, with its edges drawn out."""
        left, top, right, bottom = self.box
        wanted = right - left, bottom - top
        scaled = np.asarray(Image.fromarray(picture).resize(wanted, Image.Resampling.LANCZOS))
        margins = (top, self.size[1] - bottom), (left, self.size[0] - right), (0, 0)
        return np.pad(scaled, margins, mode="edge")

    def cut_out(self, canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the picture from an edited canvas, uint8 RGB, in (width, height) `size`.

        The canvas may have come back larger or smaller. Raises ClipError when its shape is another.
        """
        height, width = canvas.shape[:2]
        zoom = width / self.size[0], height / self.size[1]
        if abs(zoom[0] / zoom[1] - 1) > SAME_SHAPE:
            asked = "{}x{}".format(*self.size)
            raise ClipError(
                f"retarget_model gave a picture of {width}x{height} for one of {asked}, which"
                " changes proportions; name another one"
            )
        whole = Image.fromarray(canvas)
        if whole.size != self.size:
            whole = whole.resize(self.size, Image.Resampling.LANCZOS)
        # Cut first: scaling would mix the margin in.
        return np.asarray(whole.crop(self.box).resize(size, Image.Resampling.LANCZOS))


def canvas_for(size: tuple[int, int]) -> Canvas:
    """Return the canvas for a picture of (width, height) `size` that leaves least of it empty."""
    fits = {canvas: _scaled(size, canvas) for canvas in _sizes()}
    canvas, scaled = max(
        fits.items(), key=lambda fit: fit[1][0] * fit[1][1] / (fit[0][0] * fit[0][1])
    )
    left, top = ((whole - part) // 2 for whole, part in zip(canvas, scaled, strict=True))
    return Canvas(canvas, (left, top, left + scaled[0], top + scaled[1]))


def _scaled(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    zoom = min(canvas[0] / size[0], canvas[1] / size[1])
    width, height = (max(round(zoom * side), 1) for side in size)
    return min(width, canvas[0]), min(height, canvas[1])


def _sizes() -> list[tuple[int, int]]:
    """Return the sizes that an editor keeps, which takes a picture's shape and its own area."""
    least, most = (int(share * AREA**0.5) // MULTIPLE for share in SIDES)
    sides = [MULTIPLE * count for count in range(least, most + 1)]
    return [(wide, high) for wide in sides for high in sides if _kept(wide, high)]


def _kept(wide: int, high: int) -> bool:
    exact = (AREA * wide / high) ** 0.5, (AREA * high / wide) ** 0.5
    return all(
        round(side / MULTIPLE) * MULTIPLE == own
        for side, own in zip(exact, (wide, high), strict=True)
    )
