"""A contact sheet on which a person sees in two seconds whether the preprocessing is right."""

from collections.abc import Iterable
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.atomic import atomic_output
from animate.drawing import draw_pose
from animate.face import crop_face
from animate.keypoints import Keypoints
from animate.letterbox import Letterbox

COLUMNS = 8
TILE_WIDTH = 200
GAP = 4
OUTLINE = (0, 255, 0)
DIMMED = 0.45


def write_preview(
    path: Path,
    frames: Iterable[np.ndarray],
    keypoints: Keypoints,
    face_boxes: np.ndarray,
    masks: Iterable[np.ndarray] | None = None,
) -> None:
    """Write the sheet: a column for each of eight moments, and the rows driving frame, skeleton
    over it, face crop and, with `masks`, the mask's outline.

    `frames` are uint8 RGB source frames, `face_boxes` (N, 4) in their pixels, `masks` uint8 0/1 of
    any size. All are read once, in order; only the tiles are kept.
    """
    shown = set(np.linspace(0, len(keypoints) - 1, COLUMNS).astype(int).tolist())
    columns = [
        _column(frame, keypoints, face_boxes[number], mask, number)
        for number, (frame, mask) in enumerate(zip(frames, masks or repeat(None), strict=False))
        if number in shown
    ]
    sheet = np.concatenate(columns, axis=1)
    with atomic_output(path) as temporary:
        Image.fromarray(sheet).save(temporary)


def _column(
    frame: np.ndarray, keypoints: Keypoints, box: np.ndarray, mask: np.ndarray | None, number: int
) -> np.ndarray:
    height = round(TILE_WIDTH * frame.shape[0] / frame.shape[1])
    place = Letterbox(frame.shape[1::-1], (TILE_WIDTH, height))
    tile = place.image(frame)
    # Drawn four times as large and shrunk, the thin lines stay visible on the small tile.
    large = Letterbox(frame.shape[1::-1], (4 * TILE_WIDTH, 4 * height))
    parts = (keypoints.body, keypoints.left_hand, keypoints.right_hand)
    skeleton = draw_pose(large.target, *(large.points(part[number]) for part in parts))
    skeleton = cv2.dilate(skeleton, np.ones((3, 3), np.uint8))
    skeleton = cv2.resize(skeleton, place.target, interpolation=cv2.INTER_AREA)
    over = cv2.add((tile * DIMMED).astype(np.uint8), skeleton)
    face = cv2.resize(crop_face(frame, box), (TILE_WIDTH, TILE_WIDTH), interpolation=cv2.INTER_AREA)
    tiles = [tile, over, face]
    if mask is not None:
        small = cv2.resize(mask, place.target, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        tiles.append(cv2.drawContours(tile.copy(), outlines, -1, OUTLINE, 2))
    return np.concatenate([_framed(tile) for tile in tiles])


def _framed(tile: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(tile, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
