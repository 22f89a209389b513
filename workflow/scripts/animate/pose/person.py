"""Which person drives the clip, and the same person in every frame."""

from dataclasses import dataclass, field

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
SPEED_MEMORY = 0.7
SAME_BOX = 0.5
HIDDEN_COST = 0.03
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


@dataclass
class Track:
    """One person: last box, colours, the speed of the box's centre, and frames out of sight."""

    box: np.ndarray
    looks: np.ndarray
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    missed: int = 0

    def costs(self, boxes: np.ndarray, looks: list[np.ndarray]) -> np.ndarray:
        """Return how unlike this person each box (M, 4) is, infinite where it is somebody else."""
        size, sizes = _side(self.box), _side(boxes)
        expected = _centres(self.box) + self.speed * (self.missed + 1)
        centres, longest = _centres(boxes), np.maximum(sizes, size)
        off = np.linalg.norm(centres - expected, axis=1) / longest
        steps = np.linalg.norm(centres - _centres(self.box), axis=1) / longest
        growth = np.maximum(sizes / size, size / sizes)
        different = np.array([_difference(self.looks, look) for look in looks])
        if self.missed > LONG_GAP:
            # Long out of sight, a person may return anywhere: only the looks tell.
            possible = different < SURE_LOOKS
        else:
            # Some stop, some turn: where they were is as good as where they were going.
            near = np.minimum(off, steps) < MAX_STEP + STEP_PER_MISSED_FRAME * self.missed
            possible = near & (growth < MAX_GROWTH) & (different < MAX_LOOKS)
        # Of two people in one place, the one seen last hides the other.
        hidden = HIDDEN_COST * min(self.missed, LONG_GAP)
        return np.where(possible, off + different + hidden, np.inf)

    def follow(self, box: np.ndarray, looks: np.ndarray) -> None:
        """Take over where and how the person is now."""
        step = (_centres(box) - _centres(self.box)) / (self.missed + 1)
        self.speed = SPEED_MEMORY * self.speed + (1 - SPEED_MEMORY) * step
        if not self.looks.any():
            self.looks = looks
        elif _difference(self.looks, looks) < SURE_LOOKS:
            self.looks = LOOKS_MEMORY * self.looks + (1 - LOOKS_MEMORY) * looks
        self.box, self.missed = box, 0


class Tracker:
    """Recognises one person from frame to frame by place, speed, size and colours.

    The others in sight are followed too: of two people who cross, one hidden by the other, each is
    taken for whom they were walking as.
    """

    def __init__(self, person: str = "largest") -> None:
        self._person = person
        self._own: Track | None = None
        self._others: list[Track] = []

    def pick(
        self, boxes: np.ndarray, frame: np.ndarray, whole: np.ndarray | None = None
    ) -> int | None:
        """Return the index of the person among boxes (M, 4) of the next frame, None if not there.

        The first call with boxes chooses the person, by their `whole` boxes (M, 4) when `boxes`
        only holds a part of them. `frame` is uint8 RGB (h, w, 3).
        """
        looks = [_looks(frame, box) for box in boxes]
        if self._own is None:
            if not len(boxes):
                return None
            index = choose(boxes if whole is None else whole, frame.shape[1::-1], self._person)
            self._own = Track(boxes[index], looks[index])
            taken = {0: index}
        else:
            taken = self._assign(boxes, looks)
        if 0 in taken:
            self._meet_others(boxes, looks, set(taken.values()))
        return taken.get(0)

    def _assign(self, boxes: np.ndarray, looks: list[np.ndarray]) -> dict[int, int]:
        """Give each known person, 0 being ours, the box most like them; return who got which."""
        tracks = [self._own, *self._others]
        taken: dict[int, int] = {}
        if len(boxes):
            costs = np.stack([track.costs(boxes, looks) for track in tracks])
            for _ in range(min(costs.shape)):
                track, box = divmod(int(np.argmin(costs)), costs.shape[1])
                if not np.isfinite(costs[track, box]):
                    break
                taken[track] = box
                costs[track], costs[:, box] = np.inf, np.inf
        for number, track in enumerate(tracks):
            if number in taken:
                track.follow(boxes[taken[number]], looks[taken[number]])
            else:
                track.missed += 1
        self._others = [track for track in self._others if track.missed <= LONG_GAP]
        return taken

    def _meet_others(self, boxes: np.ndarray, looks: list[np.ndarray], taken: set[int]) -> None:
        """Follow people not seen before, while ours is seen: they are not the one who comes back.

        A second box on our person is nobody else's.
        """
        for number, box in enumerate(boxes):
            if number not in taken and _overlap(box, self._own.box) < SAME_BOX:
                self._others.append(Track(box, looks[number]))


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of the smaller of two boxes that the other covers."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    area = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    return float(sides.clip(0).prod() / max(area, 1))


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
