"""Whether a result is steady: joins of its segments, drift over them, and flicker."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np

# Frames are compared at this width: motion of less than a pixel there is noise.
WIDTH = 256
# Before a join is looked for: new shades of large areas are one, another grain or outline is not.
BLUR = 16
# OpenCV's optical flow crashes on fewer.
FEWEST_ROWS = 64
BLOCKS = (8, 8)
# Frames on each side of a join that say how much the picture moves there anyway.
NEIGHBOURS = 4
# In steps of 255: below it, a still picture's rounding would look like a join.
STILL = 0.25


class Steadiness:
    """Takes a result frame by frame; a few numbers of each are kept."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._changes: list[float] = []
        self._colours: list[np.ndarray] = []
        self._sharpness: list[float] = []
        self._blocks: list[np.ndarray] = []

    def take(self, frame: np.ndarray) -> None:
        """Add the next frame, uint8 RGB (h, w, 3)."""
        height, width = frame.shape[:2]
        size = WIDTH, max(1, round(height * WIDTH / width))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if self._before is not None:
            self._changes.append(self._change(self._before, small))
        self._before = small
        lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        self._colours.append(lab.mean(axis=(0, 1)))
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        self._sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
        luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        blocks = cv2.resize(luma, BLOCKS, interpolation=cv2.INTER_AREA)
        self._blocks.append(blocks.astype(np.float32))

    def _change(self, before: np.ndarray, after: np.ndarray) -> float:
        """Return the mean change between two frames that their motion does not explain."""
        lacking = max(0, FEWEST_ROWS - len(before))
        old, new = (
            cv2.copyMakeBorder(
                cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0, lacking, 0, 0, cv2.BORDER_REPLICATE
            )
            for frame in (before, after)
        )
        flow = self._flow.calc(new, old, None)[: len(before)]
        rows, columns = np.mgrid[: len(before), :WIDTH].astype(np.float32)
        origin = columns + flow[..., 0], rows + flow[..., 1]
        moved = cv2.remap(before, *origin, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = after.astype(np.float32) - moved
        return float(np.abs(cv2.GaussianBlur(difference, (0, 0), BLUR)).mean())

    def seams(self, firsts: Iterable[int], shots: Collection[int] = (0,)) -> dict[int, float]:
        """Return how much larger the change into a segment's first frame is than those around it.

        Motion is taken out of the changes. `firsts` are the first frames of the segments after the
        first; 1 is a join nobody sees. Those that begin one of the `shots` are no joins: there the
        driving video is cut.
        """
        borders, changes = {*firsts, *shots}, np.array(self._changes)
        found = {}
        for first in sorted({*firsts} - {*shots}):
            near = range(first - NEIGHBOURS, first + NEIGHBOURS + 1)
            around = [changes[n - 1] for n in near if 0 < n <= len(changes) and n not in borders]
            if around and first <= len(changes):
                usual = max(float(np.median(around)), STILL)
                found[first] = float(max(changes[first - 1], STILL) / usual)
        return found

    def drift(self, firsts: Sequence[int], shots: Collection[int] = (0,)) -> tuple[float, float]:
        """Return the largest change of the mean colour from the first segment's, and of sharpness.

        Colour is a distance in CIELAB (2 is just visible); sharpness the least share of the first
        segment's that another has, by the variance of the Laplacian, 1 at most. `firsts` are the
        segments' first frames, 0 included; each is compared with the first of its shot, and `shots`
        are the first frames of these.
        """
        spans = [slice(a, b) for a, b in pairwise([*firsts, len(self._colours)])]
        colours = [np.mean(self._colours[span], axis=0) for span in spans]
        sharpness = [np.mean(self._sharpness[span]) for span in spans]
        begins = [n for n, first in enumerate(firsts) if n == 0 or first in shots]
        begun = [begins[bisect_right(begins, n) - 1] for n in range(len(firsts))]
        colour = max(float(np.linalg.norm(colours[n] - colours[b])) for n, b in enumerate(begun))
        kept = min(float(sharpness[n] / max(sharpness[b], 1e-6)) for n, b in enumerate(begun))
        return colour, min(kept, 1.0)

    def flicker(self) -> float:
        """Return how much brightness goes up and down between neighbouring frames, in 255ths.

        The mean second difference of the brightness of 8 x 8 blocks; motion that goes on in one
        direction adds little.
        """
        if len(self._blocks) < 3:
            return 0.0
        return float(np.abs(np.diff(np.stack(self._blocks), n=2, axis=0)).mean() / 4)
