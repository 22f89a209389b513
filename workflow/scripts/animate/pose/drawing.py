"""Draw a skeleton as the model saw it in training: coloured limbs, body points and hands."""

import colorsys
import math

import cv2
import numpy as np

from animate.config.settings import PoseSettings

AS_TRAINED = PoseSettings()
SCORE_THRESHOLD = 0.5

# Body points: 0 nose, 1 neck, 2-4 right arm, 5-7 left arm, 8-10 right leg, 11-13 left leg,
# 14-15 eyes, 16-17 ears (right first), 18 left toe, 19 right toe.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11),
    (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (10, 19),
)  # fmt: skip
HEAD = [0, 14, 15, 16, 17]
HUES = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
    (200, 200, 0), (100, 100, 0),
)  # fmt: skip
LIMB_COLOURS = tuple(tuple(int(channel * 0.6) for channel in hue) for hue in HUES)

FINGERS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1)
    for finger in range(5)
    for joint in range(4)
)
FINGER_COLOURS = tuple(
    tuple(255 * channel for channel in colorsys.hsv_to_rgb(bone / len(FINGERS), 1, 1))
    for bone in range(len(FINGERS))
)
HAND_POINT_COLOUR = (0, 0, 255)


def draw_pose(
    canvas_size: tuple[int, int],
    body: np.ndarray,
    left_hand: np.ndarray,
    right_hand: np.ndarray,
    settings: PoseSettings = AS_TRAINED,
) -> np.ndarray:
    """Return the skeleton on black, uint8 RGB (height, width, 3).

    `canvas_size` is (width, height). `body` (20, 3) and the hands (21, 3) hold x and y in pixels
    and a score; points below a score of 0.5, or not finite, are left out. What lies outside
    the canvas is clipped. `settings` says which parts are drawn, and how wide.
    """
    width, height = canvas_size
    canvas = np.zeros((height, width, 3), np.uint8)
    official = max(min(height, width) // 200 - 1, 1)
    thickness = official if settings.line_width == "auto" else settings.line_width
    seen = _visible(body)
    if settings.draw in ("no_head", "body"):
        seen[HEAD] = False
    _draw_body(canvas, body, seen, thickness)
    if settings.draw in ("no_hands", "body"):
        return canvas
    for hand in (left_hand, right_hand):
        _draw_hand(canvas, hand, _visible(hand), max(thickness // 2, 1))
    return canvas


def _visible(points: np.ndarray) -> np.ndarray:
    return np.isfinite(points).all(axis=1) & (points[:, 2] >= SCORE_THRESHOLD)


def _draw_body(canvas: np.ndarray, points: np.ndarray, seen: np.ndarray, thickness: int) -> None:
    for (a, b), colour in zip(LIMBS, LIMB_COLOURS, strict=False):
        if seen[a] and seen[b]:
            cv2.fillConvexPoly(canvas, _limb(points[a], points[b], thickness), colour)
    for point, visible, colour in zip(points, seen, HUES, strict=True):
        if visible:
            cv2.circle(canvas, _pixel(point), thickness, colour, thickness=-1)


def _limb(a: np.ndarray, b: np.ndarray, thickness: int) -> np.ndarray:
    """Return the outline of an ellipse that spans both points."""
    (dx, dy), middle = (a - b)[:2], (a + b) / 2
    half_length = int(math.hypot(dx, dy) / 2)
    angle = int(math.degrees(math.atan2(dy, dx)))
    return cv2.ellipse2Poly(_pixel(middle), (half_length, thickness), angle, 0, 360, 1)


def _draw_hand(canvas: np.ndarray, points: np.ndarray, seen: np.ndarray, thickness: int) -> None:
    # The first row and column, and what is left of or above them, count as not seen.
    inside = seen & (points[:, 0] >= 1) & (points[:, 1] >= 1)
    for (a, b), colour in zip(FINGERS, FINGER_COLOURS, strict=True):
        if inside[a] and inside[b]:
            cv2.line(canvas, _pixel(points[a]), _pixel(points[b]), colour, thickness)
    for point, drawn in zip(points, inside, strict=True):
        if drawn:
            cv2.circle(canvas, _pixel(point), thickness, HAND_POINT_COLOUR, thickness=-1)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])
