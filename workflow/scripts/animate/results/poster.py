"""A clip's video as one small picture."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.atomic import atomic_output
from animate.video.files import read_at, video_info

POSTER_SIDE = 480


def write_poster(path: Path, video: Path) -> None:
    """Write the middle frame of one of the clip's own videos as a JPEG of at most 480 pixels."""
    (frame,) = read_at(video, [video_info(video).frame_count // 2])
    with atomic_output(path) as temporary:
        Image.fromarray(shrunk(frame, POSTER_SIDE)).save(temporary, quality=82)


def shrunk(frame: np.ndarray, side: int) -> np.ndarray:
    """Return a frame, uint8 (h, w, 3), with even sides, the longer of them at most `side`."""
    height, width = frame.shape[:2]
    scale = min(1, side / max(height, width))
    size = tuple(max(2, round(length * scale / 2) * 2) for length in (width, height))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
