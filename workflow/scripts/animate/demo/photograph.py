"""The demo's person: scikit-image's `astronaut` (NASA, public domain), her mouth made to open."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.data import astronaut

GAP_COLOUR = 70, 20, 25


@dataclass(frozen=True)
class Mouth:
    """Where a closed mouth is, x and y in pixels: its corners, its middle, and the chin."""

    left: tuple[float, float]
    right: tuple[float, float]
    middle: tuple[float, float]
    chin: tuple[float, float]


# As MediaPipe finds it in the photograph.
MOUTH = Mouth((201.1, 138.9), (245.8, 142.0), (222.0, 146.4), (219.6, 178.1))


def photograph() -> np.ndarray:
    """Return the photograph, uint8 (512, 512, 3) RGB."""
    return astronaut()


def open_mouth(photo: np.ndarray, amount: float, mouth: Mouth = MOUTH) -> np.ndarray:
    """Return a picture with its mouth open, 0 as it is to 1 wide, uint8 (h, w, 3)."""
    if amount == 0:
        return photo
    (x, y), width = mouth.middle, np.hypot(*np.subtract(mouth.right, mouth.left))
    to_chin, gap = mouth.chin[1] - y, 0.45 * amount * width
    # Nothing outside this part changes.
    top, reach = int(y), int(3 * to_chin + gap)
    part = np.s_[top : top + reach, int(mouth.left[0]) - 8 : int(mouth.right[0]) + 8]
    rows, columns = np.mgrid[part].astype(np.float32)
    # The gap is an ellipse; what lies below it moves down, less and less to below the chin.
    shape = np.sqrt(np.clip(1 - ((columns - x) / (0.55 * width)) ** 2, 0, 1))
    opened, below = gap * shape, rows - y
    fade = np.clip(1 - (below - opened) / (2 * to_chin), 0, 1)
    shift = np.where(below > opened, opened * fade, np.clip(below, 0, None))
    moved = cv2.remap(photo, columns, (rows - shift).astype(np.float32), cv2.INTER_LINEAR)
    inside = ((below > 0.1 * opened) & (below < opened))[..., None]
    picture = photo.copy()
    picture[part] = np.where(inside, np.uint8(GAP_COLOUR), moved)
    return picture
