"""The two edited pictures side by side, with what was found in them, to be checked by eye."""

from collections.abc import Sequence

import cv2
import numpy as np

from animate.editing.outcome import DRIVER, REFERENCE, Outcome
from animate.pose.drawing import draw_pose
from animate.pose.keypoints import Keypoints
from animate.results.preview.colours import ALARM, INK, PAPER
from animate.results.preview.text import write

HEIGHT, GAP, LINE = 360, 4, 20
DIMMED = 0.6


def draw_edited(
    pictures: Sequence[np.ndarray], keypoints: Keypoints, outcome: Outcome
) -> np.ndarray:
    """Return the edited reference and driving frame, uint8 RGB (h, w, 3), as one picture.

    `keypoints` is a clip of two frames, each in 0..1 of its picture. Above each stands what it is,
    and why it cannot be measured.
    """
    tiles = []
    for number, (which, picture) in enumerate(zip((REFERENCE, DRIVER), pictures, strict=True)):
        size = (max(round(HEIGHT * picture.shape[1] / picture.shape[0]), 1), HEIGHT)
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        parts = (keypoints.body, keypoints.left_hand, keypoints.right_hand)
        drawn = draw_pose(size, *(part[number] * (*size, 1) for part in parts))
        over = cv2.add((small * DIMMED).astype(np.uint8), drawn)
        both = np.concatenate([small, over], axis=1)
        tile = np.full((HEIGHT + 2 * LINE + GAP, both.shape[1] + GAP, 3), PAPER, np.uint8)
        tile[2 * LINE : 2 * LINE + HEIGHT, : both.shape[1]] = both
        write(tile, (GAP, 0), f"edited {which}, and its pose")
        if problem := outcome.problems.get(which):
            write(tile, (GAP, LINE), problem, colour=ALARM)
        elif which == DRIVER:
            write(tile, (GAP, LINE), f"frame {outcome.bones.frame}", colour=INK)
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)
