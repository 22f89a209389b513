"""Which of several people drives a clip or a shot."""

import numpy as np

from animate.errors import ClipError

# What `person` can be beside a point "x,y".
RULES = ("largest", "center")
MIN_LENGTH = 0.4


def choose(boxes: np.ndarray, frame_size: tuple[int, int], person: str) -> int:
    """Return the index of the person meant by `person` among boxes (M, 4) x1 y1 x2 y2 in pixels.

    "largest" has the largest area, "center" is nearest to the frame's vertical middle line,
    "x,y" is the person at that pixel of the upright frame, or else the nearest one.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    if person == "largest":
        return _largest(boxes)
    if person == "center":
        return int(np.argmin(np.abs(centres[:, 0] - frame_size[0] / 2)))
    point = parse_point(person, frame_size)
    holds = (boxes[:, :2] <= point).all(axis=1) & (boxes[:, 2:] >= point).all(axis=1)
    return int(np.argmin(np.linalg.norm(centres - point, axis=1) + np.where(holds, 0, 1e6)))


def suitability(boxes: np.ndarray, frame_size: tuple[int, int], person: str) -> np.ndarray:
    """Return how well each of boxes (M, 4), as in `choose`, is what `person` means, (M,) from 0 on.

    Sums over the frames of a shot say who is it in the shot. A point says nothing of later frames:
    size counts instead.
    """
    if person == "center":
        middles = (boxes[:, 0] + boxes[:, 2]) / 2
        return np.maximum(1 - np.abs(2 * middles / frame_size[0] - 1), 0)
    sides = boxes[:, 2:] - boxes[:, :2]
    lengths = sides.max(axis=1, initial=0)
    return np.where(lengths >= MIN_LENGTH * lengths.max(initial=0), sides.prod(axis=1), 0)


def _largest(boxes: np.ndarray) -> int:
    """Return the largest box of those that are not much flatter or shorter than the longest."""
    sides = boxes[:, 2:] - boxes[:, :2]
    areas, lengths = sides.prod(axis=1), sides.max(axis=1)
    best, length = 0, lengths.max()
    for i in range(len(boxes)):
        larger = i == 0 or areas[i] > areas[best]
        if larger and lengths[i] >= MIN_LENGTH * length:
            best, length = i, lengths[i]
    return best


def parse_point(person: str, frame_size: tuple[int, int]) -> np.ndarray:
    """Return "x,y" as pixels (2,); ClipError unless it is a point of the frame."""
    try:
        x, y = (float(part) for part in person.split(","))
    except ValueError:
        raise ClipError(
            f'person {person} is unknown; give "largest", "center" or a point "x,y" in pixels'
        ) from None
    if not (0 <= x < frame_size[0] and 0 <= y < frame_size[1]):
        width, height = frame_size
        raise ClipError(
            f"person {person} lies outside the {width}x{height} frame; give a point in it"
        )
    return np.array([x, y])
