"""Write words into pictures."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from animate.results.preview.colours import INK, PAPER, Colour

SIZE = 15
PADDING = 2


@lru_cache(maxsize=2048)
def label(
    text: str, size: int = SIZE, colour: Colour = INK, background: Colour = PAPER
) -> np.ndarray:
    """Return lines of text on a plain background, uint8 RGB (h, w, 3); `size` is in pixels."""
    font = ImageFont.load_default(size)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    _, _, width, _ = measure.multiline_textbbox((0, 0), text, font, spacing=PADDING)
    height = sum(font.getmetrics()) * (1 + text.count("\n")) + PADDING * text.count("\n")
    picture = Image.new("RGB", (int(width) + 2 * PADDING + 1, height), background)
    drawing = ImageDraw.Draw(picture)
    drawing.multiline_text((PADDING, 0), text, colour, font, spacing=PADDING)
    return np.asarray(picture)


def write(
    picture: np.ndarray,
    position: tuple[float, float],
    text: str,
    size: int = SIZE,
    colour: Colour = INK,
    background: Colour = PAPER,
) -> None:
    """Write text into `picture`, its upper left corner at `position` (x, y), moved to lie inside.

    What is larger than the picture is cut.
    """
    height, width = picture.shape[:2]
    words = label(text, size, colour, background)[:height, :width]
    x = int(min(max(position[0], 0), width - words.shape[1]))
    y = int(min(max(position[1], 0), height - words.shape[0]))
    picture[y : y + words.shape[0], x : x + words.shape[1]] = words
