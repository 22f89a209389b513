"""The strip: one thin line over all frames of a clip for each thing that can be right or wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from animate.results.preview.colours import CUT, FAINT, INK, PAPER
from animate.results.preview.figures import DOUBTFUL, GOOD, HIDDEN, LOST
from animate.results.preview.text import label, write

STATE_COLOURS = {
    LOST: (220, 0, 0),
    DOUBTFUL: (255, 165, 0),
    HIDDEN: (190, 190, 190),
    GOOD: (0, 150, 70),
}
STATE_NAMES = {
    GOOD: "found",
    HIDDEN: "hand out of sight",
    DOUBTFUL: "no face; body interpolated or implausible; mask off the skeleton",
    LOST: "nobody; no mask",
}
SHOT_COLOURS = ((170, 180, 200), (205, 212, 225))
SEGMENT_COLOURS = ((150, 170, 240), (195, 208, 250))
TEXT_SIZE = 12
LINE, BAR, AXIS = 16, 12, 20
# Seconds between two numbers of the time axis, at least so many pixels apart.
TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
TIME_PIXELS = 70


@dataclass(frozen=True)
class Strip:
    """A drawn strip, and where its frames lie.

    `picture` is uint8 RGB (h, w, 3); frame i of `count` is at `left` + i / count * `width` pixels.
    """

    picture: np.ndarray
    left: int
    width: int
    count: int

    def at(self, frame: int) -> int:
        """Return the column of pixels in the middle of a frame's place."""
        return self.left + int((frame + 0.5) * self.width / self.count)

    def with_playhead(self, frame: int) -> np.ndarray:
        """Return the picture with a line at a frame, down to the numbers of the time axis."""
        picture = self.picture.copy()
        x = self.at(frame)
        picture[:-AXIS, max(x - 2, 0) : x + 3] = PAPER
        picture[:-AXIS, max(x - 1, 0) : x + 2] = INK
        return picture


def draw_strip(
    states: Mapping[str, np.ndarray],
    count: int,
    frame_rate: float,
    shots: Sequence[int],
    segments: Sequence[int],
    size: tuple[int, int],
    marked: Sequence[int] = (),
) -> Strip:
    """Draw the strip of a clip of `count` frames.

    `states` are lines of each frame's state (N,); `shots` and `segments` the first frames of each;
    `size` (labels, width): pixels left of the lines, and of the whole. A small triangle stands over
    each of the `marked` frames. Of frames that share a column of pixels, the worst is seen.
    """
    left, right = size[0], label(" 100% ", TEXT_SIZE).shape[1]
    width = size[1] - left - right
    first_of = np.arange(width) * count // width
    rows = len(states) + 2
    picture = np.full((LINE * (rows + 1) + AXIS, size[1], 3), PAPER, np.uint8)
    strip = Strip(picture, left, width, count)
    for number, (name, line) in enumerate(states.items(), start=1):
        bar = _bar(picture, number, name, left, width)
        bar[:] = _colours()[np.minimum.reduceat(line, first_of)]
        share = f"{100 * np.mean(line == GOOD):.0f}%"
        write(picture, (left + width + 6, number * LINE), share, TEXT_SIZE)
    for number, (name, firsts, colours) in enumerate(
        (("shots", shots, SHOT_COLOURS), ("segments", segments, SEGMENT_COLOURS)),
        start=len(states) + 1,
    ):
        bar = _bar(picture, number, name, left, width)
        _spans(bar, firsts, count, colours)
        write(picture, (left + width + 6, number * LINE), f"{len(firsts)}", TEXT_SIZE)
    for cut in shots[1:]:
        x = left + cut * width // count
        picture[LINE : LINE * (rows + 1) - 2, x : x + 2] = CUT
    for frame in marked:
        for row in range(8):
            half = (8 - row) // 2
            picture[LINE - 9 + row, strip.at(frame) - half : strip.at(frame) + half + 1] = INK
    _time_axis(strip, frame_rate)
    return strip


def _colours() -> np.ndarray:
    return np.array([STATE_COLOURS[state] for state in sorted(STATE_COLOURS)], np.uint8)


def _bar(picture: np.ndarray, number: int, name: str, left: int, width: int) -> np.ndarray:
    words = label(name, TEXT_SIZE)
    write(picture, (left - words.shape[1] - 6, number * LINE), name, TEXT_SIZE)
    top = number * LINE + (LINE - BAR) // 2
    return picture[top : top + BAR, left : left + width]


def _spans(bar: np.ndarray, firsts: Sequence[int], count: int, colours: tuple) -> None:
    """Colour the spans that begin at `firsts` in turn, and number those with room for it."""
    for number, (first, stop) in enumerate(pairwise([*firsts, count])):
        span = bar[:, first * bar.shape[1] // count : stop * bar.shape[1] // count]
        span[:] = colours[number % 2]
        style = TEXT_SIZE - 2, INK, colours[number % 2]
        if span.shape[1] > label(f"{number + 1}", *style).shape[1] + 4:
            write(span, (2, -1), f"{number + 1}", *style)


def _time_axis(strip: Strip, frame_rate: float) -> None:
    seconds = strip.count / frame_rate
    step = next((s for s in TIME_STEPS if s / seconds * strip.width >= TIME_PIXELS), TIME_STEPS[-1])
    top = strip.picture.shape[0] - AXIS
    strip.picture[top, strip.left : strip.left + strip.width] = FAINT
    for number in range(int(seconds / step) + 1):
        x = strip.left + int(number * step / seconds * strip.width)
        strip.picture[top : top + 5, x : x + 1] = INK
        write(strip.picture, (x - 4, top + 4), f"{number * step:g} s", TEXT_SIZE)
