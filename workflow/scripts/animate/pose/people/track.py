"""One person through the frames of a shot: place, speed, size and colours."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

# Distances are in units of the box's longer side, sizes a ratio, looks the Bhattacharyya distance
# of colour histograms (0 same, 1 nothing in common).
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


@dataclass(eq=False)
class Track:
    """One person of a shot: last box, colours, the speed of the box's centre, frames out of sight;
    how well the person suited in which frames; and in how many this was whom we followed.
    """

    box: np.ndarray
    looks: np.ndarray
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    missed: int = 0
    suited: dict[int, float] = field(default_factory=dict)
    followed: int = 0

    def costs(self, boxes: np.ndarray, looks: list[np.ndarray]) -> np.ndarray:
        """Return how unlike this person each box (M, 4) is, infinite where it is somebody else."""
        size, sizes = longest_side(self.box), longest_side(boxes)
        expected = centres(self.box) + self.speed * (self.missed + 1)
        middles, longest = centres(boxes), np.maximum(sizes, size)
        off = np.linalg.norm(middles - expected, axis=1) / longest
        steps = np.linalg.norm(middles - centres(self.box), axis=1) / longest
        growth = np.maximum(sizes / size, size / sizes)
        different = np.array([difference(self.looks, look) for look in looks])
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
        step = (centres(box) - centres(self.box)) / (self.missed + 1)
        self.speed = SPEED_MEMORY * self.speed + (1 - SPEED_MEMORY) * step
        if not self.looks.any():
            self.looks = looks
        elif difference(self.looks, looks) < SURE_LOOKS:
            self.looks = LOOKS_MEMORY * self.looks + (1 - LOOKS_MEMORY) * looks
        self.box, self.missed = box, 0

    def weight(self, frames: Sequence[int]) -> float:
        """Return the sum of how well the person suited in those of the `frames` that lie between
        the first and the last in which this was looked at."""
        seen = sorted(self.suited)
        within = [frame for frame in frames if seen and seen[0] <= frame <= seen[-1]]
        return float(np.interp(within, seen, list(self.suited.values())).sum()) if within else 0.0


def best_pairs(costs: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of rows and columns of `costs` (n, m), the cheapest first, each used once.

    Pairs of infinite cost are none.
    """
    left, pairs = costs.copy(), []
    for _ in range(min(left.shape)):
        row, column = divmod(int(np.argmin(left)), left.shape[1])
        if not np.isfinite(left[row, column]):
            break
        pairs.append((row, column))
        left[row], left[:, column] = np.inf, np.inf
    return pairs


def centres(boxes: np.ndarray) -> np.ndarray:
    """Return the middles (..., 2) of boxes (..., 4)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of the smaller of two boxes that the other covers."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    area = min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod())
    return float(sides.clip(0).prod() / max(area, 1))


def longest_side(boxes: np.ndarray) -> np.ndarray:
    """Return the longer side of boxes (..., 4), at least 1 pixel, (...)."""
    return np.maximum((boxes[..., 2:] - boxes[..., :2]).max(axis=-1), 1)


def looks_of(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
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


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return how unlike two looks are, from 0 to 1."""
    if not (a.any() and b.any()):
        return UNKNOWN_LOOKS
    return cv2.compareHist(a.astype(np.float32), b.astype(np.float32), cv2.HISTCMP_BHATTACHARYYA)
