"""Where the camera cuts: the shots of a video, found from small grey pictures while it is decoded.

Two pictures are compared block by block, each block at the best of its places nearby (Shahraray,
"Scene change detection and content-based sampling of video sequences", 1995) by the structure term
of SSIM (Wang et al., 2004), so that motion, pans and exposure count little. A cut stands out of the
differences around it, and neither side of it returns within a few frames (Yuan et al., "A formal
study of shot boundary detection", 2007): that tells it from motion, flashes and blur. In a
dissolve, the frame in the middle is a mixture of one before and one after (Hampapur et al.,
"Production model based digital video segmentation", 1995); there the new shot begins. So it does
in the dark of a fade, whose pictures are compared as bright as others. Wipes are not looked for.
"""

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

# Size of the pictures that are compared, side of their blocks, and how far a block may have moved.
WIDTH, HEIGHT = 64, 36
BLOCK, REACH = 12, 8
# Pictures are brought to this deviation; flatter ones, white or black, are passed over.
DEVIATION, FLAT = 40.0, 4.0
# Between pictures that correlate so well lies no dissolve; over cuts it was 0.5 at most.
ALIKE = 0.85
STRUCTURE = (0.03 * 255) ** 2
# A cut differs by this much, and by so many times more than each of the frames around it.
CUT, RATIO, AROUND = 0.3, 1.9, 3
# Flashes and blur of so many frames are no cut, nor are shots so short between two of one camera.
FLASH = 8
# Frames from before a dissolve to after it, and the share of change that mixing must explain.
DISSOLVES = (3, 6, 12, 24, 48)
UNEXPLAINED = 0.65
# The new picture's share grows but for so much, and the middle frame has at least so much of both.
BACKWARDS, MIXED = 0.25, 0.2


class CutFinder:
    """Finds cuts in pictures that are given one by one; it keeps no more than the last 60."""

    def __init__(self) -> None:
        kept = max(DISSOLVES) + FLASH + AROUND + 1
        self._numbers: deque[int] = deque(maxlen=kept)
        self._pictures: deque[_Picture] = deque(maxlen=kept)
        # Each picture's difference from the one before.
        self._steps: deque[float] = deque(maxlen=kept)
        self._seen = 0
        self._found: list[_Change] = []

    def see(self, number: int, frame: VideoFrame) -> None:
        """Take decoded frame `number`, of any size and format; numbers ascend by 1."""
        # Colours that cannot be converted are refused elsewhere, in a sentence.
        with suppress(av.FFmpegError):
            small = frame.reformat(WIDTH, HEIGHT, "gray", interpolation=Interpolation.AREA)
            self.see_picture(number, small.to_ndarray())

    def see_picture(self, number: int, picture: np.ndarray) -> None:
        """Take frame `number` as a grey uint8 picture (36, 64)."""
        deviation = float(picture.std())
        if deviation < FLAT:
            return
        new = _Picture((picture - picture.mean()) * (DEVIATION / deviation))
        self._steps.append(difference(self._pictures[-1], new) if self._pictures else 0.0)
        self._pictures.append(new)
        self._numbers.append(number)
        self._seen += 1
        self._judge(len(self._pictures) - 1 - FLASH)

    def cuts(self) -> list[int]:
        """Return the first frame of each shot but the first, ascending; call it at the end."""
        for place in range(max(len(self._pictures) - FLASH, 0), len(self._pictures)):
            self._judge(place)
        return [change.number for change in self._found]

    def _judge(self, place: int) -> None:
        """Look whether the picture at `place` of those kept is the first after a change."""
        if place < 1:
            return
        if self._is_cut(place):
            number = self._numbers[place]
            self._note(_Change(self._numbers[place - 1], number, number, 1.0))
        for length in DISSOLVES:
            # Long ones change slowly: they need not be looked for at every frame.
            due = (self._seen - len(self._pictures) + place) % max(length // 6, 1) == 0
            if due and place >= length and (change := self._dissolve(place - length, place)):
                self._note(change)

    def _note(self, change: "_Change") -> None:
        """Add a change; of those that overlap, the one that changes most stays."""
        rivals = [other for other in self._found[-3:] if other.last > change.first]
        if all(other.size < change.size for other in rivals):
            self._found = [other for other in self._found if other not in rivals] + [change]

    def _is_cut(self, place: int) -> bool:
        step = self._steps[place]
        if step < CUT:
            return False
        first, stop = max(place - AROUND, 1), min(place + AROUND + 1, len(self._steps))
        others = [self._steps[i] for i in range(first, stop) if i != place]
        if step < RATIO * max(others, default=0):
            return False
        pictures = self._pictures
        later = range(place + 1, min(place + FLASH, len(pictures)))
        earlier = range(max(place - FLASH, 0), place - 1)
        returns = [difference(pictures[place - 1], pictures[i]) for i in later]
        returns += [difference(pictures[i], pictures[place]) for i in earlier]
        return min(returns, default=step) > step / RATIO

    def _dissolve(self, first: int, last: int) -> "_Change | None":
        """Return the dissolve that lies between two of the pictures kept, if there is one."""
        before, after = self._pictures[first], self._pictures[last]
        if np.vdot(before.grey, after.grey) > ALIKE * DEVIATION**2 * before.grey.size:
            return None
        if (size := difference(before, after)) < CUT:
            return None
        later = self._pictures[min(last + FLASH, len(self._pictures)) - 1]
        earlier = self._pictures[max(first - FLASH + 1, 0)]
        if min(difference(before, later), difference(earlier, after)) < CUT:
            return None
        ends = np.stack([before.grey.ravel(), after.grey.ravel()], axis=1)
        between = np.stack([self._pictures[i].grey.ravel() for i in range(first + 1, last)], axis=1)
        shares = np.clip(np.linalg.lstsq(ends, between, rcond=None)[0], 0, None)
        share = shares[1] / np.maximum(shares.sum(axis=0), 1e-6)
        if (np.maximum.accumulate(share) - share).max() > BACKWARDS:
            return None
        middle = int(np.abs(share - 0.5).argmin())
        if not MIXED < share[middle] < 1 - MIXED:
            return None
        shown = self._pictures[first + 1 + middle]
        mixture = (ends @ shares[:, middle]).reshape(HEIGHT, WIDTH)
        explained = difference(_Picture(mixture * (DEVIATION / mixture.std())), shown)
        alone = min(difference(before, shown), difference(after, shown))
        if explained > UNEXPLAINED * alone:
            return None
        numbers = self._numbers
        number = numbers[first + 1 + middle + (share[middle] < 0.5)]
        return _Change(numbers[first], numbers[last], number, size)


@dataclass(frozen=True)
class _Change:
    """A change of shots between frames `first` and `last`; `number` begins the new shot."""

    first: int
    last: int
    number: int
    size: float


class _Picture:
    """A normalised grey picture, float32 (36, 64), and the variance of each block in it."""

    def __init__(self, grey: np.ndarray):
        self.grey = grey.astype(np.float32)
        mean, square = (
            cv2.boxFilter(values, -1, (BLOCK, BLOCK), anchor=(0, 0))
            for values in (self.grey, self.grey**2)
        )
        self.variance = np.maximum(square - mean**2, 0)


def difference(before: _Picture, after: _Picture) -> float:
    """Return how unlike two pictures are, 0 to about 0.7, after each block moved by up to 8."""
    alike = []
    for y in range(0, HEIGHT - BLOCK + 1, BLOCK):
        for x in range(0, WIDTH - BLOCK + 1, (WIDTH - BLOCK) // 4):
            top, left = max(y - REACH, 0), max(x - REACH, 0)
            bottom, right = min(y + BLOCK + REACH, HEIGHT), min(x + BLOCK + REACH, WIDTH)
            block = after.grey[y : y + BLOCK, x : x + BLOCK]
            near = before.grey[top:bottom, left:right]
            shared = cv2.matchTemplate(near, block, cv2.TM_CCOEFF) / BLOCK**2
            variance = before.variance[top : bottom - BLOCK + 1, left : right - BLOCK + 1]
            total = variance + after.variance[y, x] + STRUCTURE
            alike.append(((2 * shared + STRUCTURE) / total).max())
    return 1 - float(np.mean(alike))
