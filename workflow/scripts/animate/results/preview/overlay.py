"""What is drawn over a driving frame: skeleton, boxes, masks, and a ruler of the model's pixels."""

from collections.abc import Iterable

import cv2
import numpy as np

from animate.pose.drawing import draw_pose
from animate.pose.keypoints import Keypoints
from animate.results.preview.colours import FACE, PEOPLE, PERSON, REPAINTED, RULER, Colour
from animate.results.preview.people import Person
from animate.results.preview.text import label, write
from animate.results.preview.view import View

TINT = 0.3
# Steps of the ruler in the model's pixels, and how far apart its numbers are in the picture's.
STEPS = (10, 20, 50, 100, 200, 500, 1000)
STEP_PIXELS = 55
RULER_SIZE = 11
HALO = (235, 235, 235)
# Not black, which is what is not drawn.
DARK = (10, 10, 10)


def skeleton(view: View, keypoints: Keypoints, frame: int, enlarged: int = 1) -> np.ndarray:
    """Return the skeleton as it was found, on black, uint8 RGB of the view's size.

    `enlarged` times as large and shrunk, thin lines stay visible in a small view.
    """
    size = (view.size[0] * enlarged, view.size[1] * enlarged)
    parts = (keypoints.body, keypoints.left_hand, keypoints.right_hand)
    drawn = draw_pose(size, *(part[frame] * (*size, 1) for part in parts))
    if enlarged == 1:
        return drawn
    drawn = cv2.dilate(drawn, np.ones((3, 3), np.uint8))
    return cv2.resize(drawn, view.size, interpolation=cv2.INTER_AREA)


def put_over(picture: np.ndarray, drawn: np.ndarray, halo: bool = False) -> None:
    """Put what is not black in `drawn` over a picture of the same size, both uint8 RGB.

    With a `halo` it is seen on any colour.
    """
    seen = cv2.cvtColor(drawn, cv2.COLOR_RGB2GRAY)
    place = _place_of(seen)
    seen, drawn, picture = seen[place], drawn[place], picture[place]
    if halo:
        around = cv2.dilate(seen, np.ones((3, 3), np.uint8))
        cv2.copyTo(np.full_like(drawn, HALO), around, picture)
    cv2.copyTo(drawn, seen, picture)


def _place_of(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns around what is not 0, and a pixel more each way."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def tint(picture: np.ndarray, mask: np.ndarray, colour: Colour = REPAINTED) -> None:
    """Colour the `mask` (h, w), uint8 0/1 of the picture's size."""
    place = _place_of(mask)
    mask, picture = mask[place], picture[place]
    plain = np.full_like(picture, colour)
    cv2.copyTo(cv2.addWeighted(picture, 1 - TINT, plain, TINT, 0), mask, picture)


def outline(picture: np.ndarray, mask: np.ndarray, colour: Colour = PERSON) -> None:
    """Draw the outline of a mask (h, w), uint8 0/1 of the picture's size."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, 2)


def face_frame(picture: np.ndarray, view: View, box: np.ndarray) -> None:
    """Draw the face crop, x1, y1, x2, y2 in pixels of the driving frame; an empty one is none."""
    if box[2] > box[0] and box[3] > box[1]:
        _rectangle(picture, view.from_source(np.reshape(box, (2, 2))), FACE)


def people_boxes(picture: np.ndarray, view: View, people: Iterable[Person]) -> None:
    """Draw the boxes of people, each with its number."""
    for person in people:
        corners = view.from_model(np.reshape(person.box, (2, 2)))
        _rectangle(picture, corners, DARK, 3)
        _rectangle(picture, corners, PEOPLE)
        write(picture, corners[0], f"{person.number}", 16, DARK, PEOPLE)


def _rectangle(picture: np.ndarray, corners: np.ndarray, colour: Colour, width: int = 1) -> None:
    # Of a box that reaches to the picture's edge, the side lies in it.
    low, high = np.clip(corners.round(), 0, np.array(picture.shape[1::-1]) - 1).astype(int).tolist()
    cv2.rectangle(picture, low, high, colour, width)


def draw_ruler(picture: np.ndarray, view: View, grid: bool = True) -> None:
    """Number the model's pixels along the upper and left edges, with a faint grid or without."""
    step = next((s for s in STEPS if s * view.scale.min() >= STEP_PIXELS), STEPS[-1])
    for axis, (first, last) in enumerate(view.span()):
        for value in range(-(-first // (step // 5)) * (step // 5), last + 1, step // 5):
            at = round(float(view.from_model((value, value))[axis]))
            long = value % step == 0
            if long and grid and at > 0:
                line = picture[:, at : at + 1] if axis == 0 else picture[at : at + 1]
                line[:] = cv2.addWeighted(line, 0.7, np.full_like(line, RULER), 0.3, 0)
            _tick(picture, axis, at, 9 if long else 4)
            if long and at > STEP_PIXELS / 3:
                _number(picture, axis, at, value)


def _tick(picture: np.ndarray, axis: int, at: int, length: int) -> None:
    for shift, colour in ((1, DARK), (0, RULER)):
        if axis == 0:
            picture[:length, at + shift : at + shift + 1] = colour
        else:
            picture[at + shift : at + shift + 1, :length] = colour


def _number(picture: np.ndarray, axis: int, at: int, value: int) -> None:
    height, width = label(f"{value}", RULER_SIZE, RULER, DARK).shape[:2]
    place = (at - width // 2, 9) if axis == 0 else (9, at - height // 2)
    write(picture, place, f"{value}", RULER_SIZE, RULER, DARK)
