"""The face crop: which part of a frame drives the expression."""

from collections.abc import Sequence

import cv2
import numpy as np

from animate.pose.drawing import SCORE_THRESHOLD
from animate.pose.keypoints import Keypoints, faces_seen, shot_slices
from animate.pose.smoothing import one_euro

AREA_SCALE = 1.3
CROP_SIZE = 512
MIN_SIDE = 4
# Nose, ears and shoulders.
HEAD_AND_SHOULDERS = (0, 16, 17, 2, 5)

Box = tuple[int, int, int, int]


def face_box(points: np.ndarray, frame_size: tuple[int, int]) -> Box | None:
    """Return the crop x1, y1, x2, y2 in pixels around the face, or None where there is no face.

    `points` (69, 2 or 3) are x and y in 0..1 of a frame of `frame_size` (width, height), and a
    score; the first belongs to the heel and is left out, and so are those that score 0: they have
    no place. The bounding box grows to 1.3 times its area,
    three quarters of the added height above it for the forehead, and is clipped to the frame.
    """
    face = points[1:]
    face = face[(face[:, 2:] > 0).all(axis=1), :2] * frame_size
    if not len(face) or not np.isfinite(face).all():
        return None
    low, high = face.min(axis=0), face.max(axis=0)
    grow_x, grow_y = (high - low) * (np.sqrt(AREA_SCALE) - 1) / 2
    x1, y1 = np.maximum(low - np.array((grow_x, 1.5 * grow_y)), 0).astype(int)
    x2, y2 = np.minimum(high + np.array((grow_x, 0.5 * grow_y)), frame_size).astype(int)
    if x2 - x1 < MIN_SIDE or y2 - y1 < MIN_SIDE:
        return None
    return int(x1), int(y1), int(x2), int(y2)


def face_track(
    keypoints: Keypoints,
    frame_size: tuple[int, int],
    frame_rate: float,
    shots: Sequence[int] = (0,),
    *,
    smooth: bool = True,
) -> np.ndarray:
    """Return the crop of every frame, int (N, 4) as in `face_box`; all zero where it is black.

    While the face is turned away, or before it is first seen, the crop moves with the head and the
    shoulders. After a second of that, and where the person is absent, it is black. `frame_rate` is
    in frames per second; `shots` are the first frames of the clip's shots, and nothing is carried
    from one into the next. `smooth` steadies the boxes.
    """
    boxes = np.zeros((len(keypoints), 4))
    seen = faces_seen(keypoints.face)
    head = _head_path(keypoints.body, frame_size)
    for shot in shot_slices(shots, len(keypoints)):
        faces = zip(keypoints.face[shot], seen[shot], strict=True)
        found = [face_box(face, frame_size) if known else None for face, known in faces]
        known = np.flatnonzero([box is not None for box in found])
        if not len(known):
            continue
        boxes[shot] = _followed(np.array([found[i] for i in known], float), known, head[shot])
        # Frames since the face was seen last, or until it is first seen.
        frames = np.arange(len(found))
        last = known[np.maximum(np.searchsorted(known, frames, "right") - 1, 0)]
        cropped = (np.abs(frames - last) <= frame_rate) & keypoints.shown[shot]
        if smooth:
            # Sides of the face are the unit, so that a small face is smoothed like a large one.
            low, high = boxes[shot][known, :2], boxes[shot][known, 2:]
            side = np.sqrt(np.median((high - low).prod(axis=1)))
            steady = one_euro(boxes[shot] / side, float(frame_rate), seen=cropped[:, None])
            boxes[shot] = steady * side
        boxes[shot][~cropped] = 0
    return np.clip(boxes, 0, np.tile(frame_size, 2)).round().astype(int)


def _head_path(body: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    """Return how far head and shoulders of `body` (N, 20, 3) have moved since the first frame,
    (N, 2) in pixels; each step is that of the points that both frames show."""
    points = body[:, HEAD_AND_SHOULDERS]
    shown = points[..., 2:] >= SCORE_THRESHOLD
    both = shown[1:] & shown[:-1]
    steps = (np.diff(points[..., :2], axis=0) * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps * frame_size, axis=0)])


def _followed(boxes: np.ndarray, known: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Return a box for each place of `head` (n, 2): the `boxes` (m, 4) of the frames `known`, and
    between them boxes that lie to the head as those do."""
    frames, moved = np.arange(len(head)), np.tile(head, 2)
    beside = [np.interp(frames, known, side) for side in (boxes - moved[known]).T]
    return moved + np.transpose(beside)


def crop_face(frame: np.ndarray, box: np.ndarray | Box) -> np.ndarray:
    """Return the (512, 512, 3) uint8 RGB crop of `frame`; black where the box is empty."""
    x1, y1, x2, y2 = (int(side) for side in box)
    if x1 >= x2 or y1 >= y2:
        return np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return cv2.resize(frame[y1:y2, x1:x2], (CROP_SIZE, CROP_SIZE))
