"""Which person drives the clip, and the same person in every frame."""

import cv2
import numpy as np

from animate.errors import ClipError

# Distances are in units of the box's longer side, sizes a ratio, looks the Bhattacharyya distance
# of colour histograms (0 same, 1 nothing in common).
MIN_LENGTH = 0.4
MAX_STEP = 0.5
STEP_PER_MISSED_FRAME = 0.05
MAX_GROWTH = 2.5
MAX_LOOKS = 0.75
SURE_LOOKS = 0.45
# A trunk out of the frame has no colours; place and size must do.
UNKNOWN_LOOKS = 0.6
LOOKS_MEMORY = 0.95
LONG_GAP = 24


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


class Tracker:
    """Recognises one person from frame to frame by place, size and colours."""

    def __init__(self, person: str = "largest") -> None:
        self._person = person
        self._box: np.ndarray | None = None
        self._looks: np.ndarray | None = None
        self._missed = 0

    def pick(
        self, boxes: np.ndarray, frame: np.ndarray, whole: np.ndarray | None = None
    ) -> int | None:
        """Return the index of the person among boxes (M, 4) of the next frame, None if not there.

        The first call with boxes chooses the person, by their `whole` boxes (M, 4) when `boxes`
        only holds a part of them. `frame` is uint8 RGB (h, w, 3).
        """
        looks = [_looks(frame, box) for box in boxes]
        if self._box is not None or not len(boxes):
            index = self._same(boxes, looks) if len(boxes) else None
        else:
            shown = boxes if whole is None else whole
            index = choose(shown, frame.shape[1::-1], self._person)
        if index is None:
            self._missed += 1
            return None
        if self._looks is None or not self._looks.any():
            self._looks = looks[index]
        elif _difference(self._looks, looks[index]) < SURE_LOOKS:
            self._looks = LOOKS_MEMORY * self._looks + (1 - LOOKS_MEMORY) * looks[index]
        self._box, self._missed = boxes[index], 0
        return index

    def _same(self, boxes: np.ndarray, looks: list[np.ndarray]) -> int | None:
        size, sizes = _side(self._box), _side(boxes)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        steps = np.linalg.norm(centres - (self._box[:2] + self._box[2:]) / 2, axis=1)
        steps = steps / np.maximum(sizes, size)
        growth = np.maximum(sizes / size, size / sizes)
        different = np.array([_difference(self._looks, look) for look in looks])
        if self._missed > LONG_GAP:
            # Long out of sight, a person may return anywhere: only the looks tell.
            possible = different < SURE_LOOKS
        else:
            near = steps < MAX_STEP + STEP_PER_MISSED_FRAME * self._missed
            possible = near & (growth < MAX_GROWTH) & (different < MAX_LOOKS)
        if not possible.any():
            return None
        return int(np.argmin(np.where(possible, steps + different, np.inf)))


def _side(boxes: np.ndarray) -> np.ndarray:
    return np.maximum((boxes[..., 2:] - boxes[..., :2]).max(axis=-1), 1)


def _looks(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the colour histogram (256,) of the middle half of what the frame shows of the box."""
    low, high = np.clip(box.reshape(2, 2), 0, frame.shape[1::-1])
    quarter = (high - low) / 4
    (x1, y1), (x2, y2) = (low + quarter).astype(int), np.ceil(high - quarter).astype(int)
    patch = frame[y1:y2, x1:x2]
    if patch.size == 0:
        return np.zeros(256, np.float32)
    step = max(max(patch.shape[:2]) // 64, 1)
    patch = np.ascontiguousarray(patch[::step, ::step])
    bins = cv2.calcHist([patch >> 5], [0, 1, 2], None, [8, 8, 4], [0, 8, 0, 8, 0, 8]).ravel()
    return bins / bins.sum()


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    if not (a.any() and b.any()):
        return UNKNOWN_LOOKS
    return cv2.compareHist(a.astype(np.float32), b.astype(np.float32), cv2.HISTCMP_BHATTACHARYYA)
