"""The legend: whose colours are whose in the skeleton, and what the lines over a frame mean."""

import cv2
import numpy as np

from animate.config.settings import PoseSettings
from animate.pose.drawing import draw_pose
from animate.results.preview.colours import (
    CUT,
    FACE,
    INK,
    PAPER,
    PEOPLE,
    PERSON,
    REPAINTED,
    Colour,
)
from animate.results.preview.strip import STATE_COLOURS, STATE_NAMES
from animate.results.preview.text import label, write

FIGURE = (330, 250)
TEXT_SIZE = 13
LINE = 20
# A person seen from the front, as shares of the figure: the order of a body's points.
BODY = (
    (0.50, 0.18), (0.50, 0.31), (0.43, 0.31), (0.36, 0.45), (0.30, 0.58), (0.57, 0.31),
    (0.64, 0.45), (0.70, 0.58), (0.46, 0.60), (0.44, 0.76), (0.42, 0.91), (0.54, 0.60),
    (0.56, 0.76), (0.58, 0.91), (0.48, 0.14), (0.52, 0.14), (0.455, 0.16), (0.545, 0.16),
    (0.62, 0.95), (0.38, 0.95),
)  # fmt: skip
HAND_LENGTH = 0.17
NAMES = (
    ("right arm", (0.02, 0.33)),
    ("left arm", (0.72, 0.33)),
    ("right hand", (0.02, 0.60)),
    ("left hand", (0.80, 0.60)),
    ("right leg", (0.10, 0.84)),
    ("left leg", (0.64, 0.84)),
    ("eyes, ears", (0.60, 0.08)),
)
MEANINGS: tuple[tuple[str, Colour], ...] = (
    ("outline of the person", PERSON),
    ("what is painted anew (mask)", REPAINTED),
    ("crop of the face", FACE),
    ("somebody, with a number", PEOPLE),
    ("cut: a new shot", CUT),
)


def draw_legend() -> np.ndarray:
    """Return the legend, uint8 RGB (h, w, 3): a figure, lines over frames, colours of the strip."""
    figure = _figure()
    lines = [(name, colour, False) for name, colour in MEANINGS]
    lines += [(STATE_NAMES[state], STATE_COLOURS[state], True) for state in STATE_NAMES]
    width = max(label(name, TEXT_SIZE).shape[1] for name, *_ in lines) + 44
    words = np.full((figure.shape[0], width, 3), PAPER, np.uint8)
    for number, (name, colour, filled) in enumerate(lines):
        y = 2 + number * LINE + (0 if number < len(MEANINGS) else LINE // 2)
        corners = (8, y + 3), (32, y + 14)
        cv2.rectangle(words, *corners, colour if filled else INK, -1)
        # Within the dark, so that white is seen on paper, too.
        cv2.rectangle(words, (10, y + 5), (30, y + 12), colour, 2)
        write(words, (40, y), name, TEXT_SIZE)
    return np.concatenate([figure, words], axis=1)


def _figure() -> np.ndarray:
    """Return a skeleton as the model sees it, with the names of its parts."""
    body = np.array([(x, y, 1) for x, y in BODY]) * (*FIGURE, 1)
    left, right = _hand(body[7, :2], 1), _hand(body[4, :2], -1)
    picture = draw_pose(FIGURE, body, left, right, PoseSettings(line_width=4))
    for name, (x, y) in NAMES:
        write(picture, (x * FIGURE[0], y * FIGURE[1]), name, TEXT_SIZE, PAPER, (0, 0, 0))
    write(picture, (4, 2), "right and left are the person's", TEXT_SIZE - 1, PAPER, (0, 0, 0))
    return picture


def _hand(wrist: np.ndarray, side: int) -> np.ndarray:
    """Return a spread hand (21, 3) that hangs from a wrist, the thumb towards the body."""
    points = [(*wrist, 1.0)]
    for finger in range(5):
        angle = np.radians(-70 + 30 * finger) * side
        length = HAND_LENGTH * FIGURE[1] * (0.7 if finger in (0, 4) else 1)
        steps = length * np.arange(1, 5)[:, None] / 4 * (np.sin(angle), np.cos(angle))
        points += [(*point, 1.0) for point in wrist + steps]
    return np.array(points)
