"""People as coloured boxes, found by their colours: what tells them apart is plain to see."""

import cv2
import numpy as np

SIZE = (640, 360)
# Colours of people; the two of each are told apart by nothing else.
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
# x and y of the upper left corner, width and height, colour.
Figure = tuple[int, int, int, int, tuple[int, int, int]]
LEFT, RIGHT = (60, 100, 80, 200), (460, 100, 80, 200)
LARGE, SMALL = (380, 20, 140, 330), (40, 200, 50, 120)


def picture(*figures: Figure) -> np.ndarray:
    """Return a frame with a coloured box for each person."""
    frame = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for x, y, width, height, colour in figures:
        cv2.rectangle(frame, (x, y), (x + width - 1, y + height - 1), colour, -1)
    return frame


def boxes_in(frame: np.ndarray) -> np.ndarray:
    """Return the coloured boxes (M, 4) of a frame as x1 y1 x2 y2: the red ones first, then green,
    then blue."""
    stats = [cv2.connectedComponentsWithStats(frame[..., c] // 200)[2][1:] for c in range(3)]
    x, y, width, height, _ = np.concatenate(stats).T.astype(float)
    return np.column_stack([x, y, x + width, y + height])
