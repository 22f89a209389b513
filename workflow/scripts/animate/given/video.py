"""A video of the user's that stands in for one of the clip's own: checked, and fitted."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.given.shape import is_alike
from animate.video.files import BT709, MASK_THRESHOLD, VideoWriter
from animate.video.letterbox import Letterbox
from animate.video.source import Scan, scan, upright_frames
from animate.video.timeline import Timeline, source_rate

# 30000/1001 and 29.97 are the same rate, 30 is another.
RATE_TOLERANCE = Fraction(1, 2000)


@dataclass(frozen=True)
class GivenVideo:
    """A checked video: one frame for each of the clip's, to be placed in frames of `size`."""

    path: Path
    found: Scan
    frame_rate: Fraction
    size: tuple[int, int]

    def frames(self) -> Iterator[np.ndarray]:
        """Yield the frames, uint8 RGB (h, w, 3) of `size`; two are in memory at a time."""
        place = Letterbox(self.found.picture.size, self.size)
        wanted = range(len(self.found.times))
        yield from map(place.image, upright_frames(self.path, self.found.picture, wanted))

    def masks(self) -> Iterator[np.ndarray]:
        """Yield the frames as masks, uint8 0/1 (h, w): 1 where they are lighter than dark."""
        for frame in self.frames():
            yield (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) > MASK_THRESHOLD).astype(np.uint8)

    def write(self, path: Path, quality: str) -> None:
        """Write the frames as one of the clip's own videos; see `VideoWriter` for `quality`.

        A file in just that form is copied byte for byte.
        """
        if self._is_in_form():
            with atomic_output(path) as temporary:
                shutil.copyfile(self.path, temporary)
            return
        with VideoWriter(path, self.size, self.frame_rate, quality) as video:
            for frame in self.frames():
                video.write(frame)

    def _is_in_form(self) -> bool:
        with av.open(str(self.path)) as container:
            streams = container.streams
            context = streams.video[0].codec_context
            form = (
                context.name,
                context.pix_fmt,
                context.colorspace,
                (context.width, context.height),
            )
            alone = len(streams) == 1 and "mp4" in container.format.name
            full = context.color_range == ColorRange.JPEG
        wanted = "h264", "yuv420p", BT709, self.size
        upright = self.found.picture.size == self.size and not self.found.picture.interlaced
        return alone and form == wanted and upright and not full and self._is_on_time()

    def _is_on_time(self) -> bool:
        """Return whether each frame stands just where it is looked for."""
        ticks = 1 / (self.frame_rate * self.found.tick)
        places = (round(number * ticks) for number in range(len(self.found.stamps)))
        return self.found.stamps == list(places)


def open_given(column: str, path: Path, timeline: Timeline, face: int | None = None) -> GivenVideo:
    """Return the video that a column names, decoded once to check it.

    Its frames show what the model's frames show, or the whole of the driving video's; with `face`
    they are squares and get sides of so many pixels. Raises ClipError for a file that is no
    readable video, and for another number of frames, rate or shape.
    """
    try:
        found = scan(path)
    except ClipError as error:
        raise ClipError(str(error).replace("driving video", column, 1)) from error
    rate, _ = source_rate(found)
    count, wanted = len(found.times), timeline.frame_count
    if count != wanted or abs(rate / timeline.frame_rate - 1) > RATE_TOLERANCE:
        raise ClipError(
            f"{column} {path} has {_figures(count, rate)}, but the clip has"
            f" {_figures(wanted, timeline.frame_rate)}; give one frame for each of the clip's"
            + _hint(rate, timeline.frame_rate)
        )
    size = (face, face) if face else timeline.model_size
    shapes = [size] if face else [size, timeline.source_size]
    if not any(is_alike(found.picture.size, shape) for shape in shapes):
        shown = " or ".join("{}x{}".format(*shape) for shape in dict.fromkeys(shapes))
        raise ClipError(
            f"{column} {path} has frames of {'{}x{}'.format(*found.picture.size)}, another shape"
            f" than {shown}; give frames of that shape, of any size"
        )
    return GivenVideo(path, found, timeline.frame_rate, size)


def _figures(frames: int, rate: Fraction) -> str:
    return f"{frames} frames at {float(rate):.6g} per second"


def _hint(rate: Fraction, wanted: Fraction) -> str:
    if abs(rate / wanted - 1) > RATE_TOLERANCE:
        return f", at its rate, or set fps to {rate}"
    return ", from start to end"
