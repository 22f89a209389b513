"""A contact sheet on which a person sees in two seconds whether the preprocessing is right."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.atomic import atomic_output
from animate.pose.drawing import draw_pose
from animate.pose.face import crop_face
from animate.pose.keypoints import Keypoints
from animate.video.letterbox import Letterbox

COLUMNS = 8
TILE_WIDTH = 200
GAP = 4
# Of the person as found, and of the grown mask that the model repaints.
OUTLINES = ((255, 255, 0), (0, 255, 0))
DIMMED = 0.45
# Left of the first column of a new shot.
BORDER = (255, 0, 0)


def write_preview(
    path: Path,
    frames: Iterable[np.ndarray],
    keypoints: Keypoints,
    face_boxes: np.ndarray,
    poses: Sequence[np.ndarray],
    masks: Sequence[Sequence[np.ndarray]] = (),
    shots: Sequence[int] = (0,),
) -> None:
    """Write the sheet: a column for each of the `moments`, eight side by side, a red line before
    the first of each of the `shots`; and the rows driving frame, skeleton over it as it was found,
    face crop, with two `masks` their outlines, and what the model sees of the pose, smoothed and
    retargeted.

    `frames` are all uint8 RGB source frames, read once and in order; `face_boxes` (N, 4) are in
    their pixels. Of the `moments` alone come `poses`, drawn skeletons, and `masks`, uint8 0/1 of
    any size: those of the person, and those grown.
    """
    shown = moments(len(keypoints), shots)
    pictures = (frame for number, frame in enumerate(frames) if number in shown)
    columns = [
        _column(frame, keypoints, pose, face_boxes[number], shapes, number)
        for number, frame, pose, *shapes in zip(shown, pictures, poses, *masks, strict=True)
    ]
    for column, before, number in zip(columns[1:], shown, shown[1:], strict=False):
        if bisect_right(shots, before) != bisect_right(shots, number):
            column[:, :GAP] = BORDER
    blank = np.full_like(columns[0], 255)
    columns += [blank] * (-len(columns) % COLUMNS if len(columns) > COLUMNS else 0)
    strips = [columns[first : first + COLUMNS] for first in range(0, len(columns), COLUMNS)]
    sheet = np.concatenate([np.concatenate(strip, axis=1) for strip in strips])
    with atomic_output(path) as temporary:
        Image.fromarray(sheet).save(temporary)


def moments(count: int, shots: Sequence[int] = (0,)) -> list[int]:
    """Return the frames of a clip of `count` frames that the sheet shows: eight all over the clip,
    and the middle of each shot that has none of them; `shots` are the shots' first frames.
    """
    shown = np.linspace(0, count - 1, COLUMNS).astype(int)
    shown_shots = np.searchsorted(shots, shown, side="right")
    middles = [
        (first + stop) // 2
        for number, (first, stop) in enumerate(pairwise([*shots, count]), start=1)
        if number not in shown_shots
    ]
    return sorted({*shown.tolist(), *middles})


def _column(
    frame: np.ndarray,
    keypoints: Keypoints,
    pose: np.ndarray,
    box: np.ndarray,
    masks: list[np.ndarray],
    number: int,
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
    if masks:
        tiles.append(_outlined(tile.copy(), masks))
    tiles.append(_fitting(pose))
    return np.concatenate([_framed(tile) for tile in tiles])


def _outlined(tile: np.ndarray, masks: list[np.ndarray]) -> np.ndarray:
    for mask, colour in zip(masks, OUTLINES, strict=True):
        small = cv2.resize(mask, tile.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outlines, -1, colour, 2)
    return tile


def _fitting(picture: np.ndarray) -> np.ndarray:
    """Return a picture of the model's size, as wide as a tile."""
    height = round(TILE_WIDTH * picture.shape[0] / picture.shape[1])
    return cv2.resize(picture, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)


def _framed(tile: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(tile, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
