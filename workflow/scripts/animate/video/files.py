"""The clip's own video files: written once, frame by frame, and read back frame by frame."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.prefetch import prefetch
from animate.video.source import upright_frames
from animate.video.timeline import Timeline

BT709 = 1
# Threads that make RGB of a segment's frames while the next ones are decoded.
CONVERTERS = 4
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
MASK_THRESHOLD = 127
# The same threshold of the luma, from 16 to 235, where the chroma is that of grey.
MASK_LUMA, NEUTRAL = 125, 128
CRF = {"picture": 7, "drawing": 6, "mask": 4, "result": 14, "overlay": 20, "preview": 28}
# CRF alone spends less on noise and on high frame rates, down to 36 dB.
QMAX = {"picture": 18}
# Every value of the RGB frames as it is: what is made of this file again loses nothing by it.
EXACT_CODEC = {"qp": "0"}
ENCODER = {"preset": "veryfast", "bf": "0", "g": "48"}
# With the macroblock tree, the same frames now and then get other bytes; previews may.
REPEATABLE = {"x264-params": "mbtree=0"}


@dataclass(frozen=True)
class VideoInfo:
    """Frame count, frames per second and (width, height) of one of the clip's own videos."""

    frame_count: int
    frame_rate: Fraction
    size: tuple[int, int]


def read_frames(
    video: Path, timeline: Timeline, positions: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """Yield the upright source frame of every output frame, uint8 RGB (h, w, 3) of `source_size`.

    With `positions`, ascending, it yields those of some output frames alone. Two frames are in
    memory at a time; a source frame shown twice is yielded twice. Raises ClipError when the video
    ends before the timeline does.
    """
    sources = timeline.source_indices
    shown = Counter(sources if positions is None else [sources[place] for place in positions])
    frames = upright_frames(Path(video), timeline.picture, shown, timeline.entry)
    times = iter(shown.values())
    for frame in prefetch(frames):
        yield from repeat(frame, next(times))
    if next(times, None) is None:
        return
    raise ClipError(f"driving video {video} has changed since its timeline was made; run it again")


@dataclass(frozen=True)
class DrivingFrames:
    """The frames of `read_frames`, which can be gone through more than once."""

    video: Path
    timeline: Timeline

    def __iter__(self) -> Iterator[np.ndarray]:
        return read_frames(self.video, self.timeline)


def read_video(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of one of the clip's own videos, uint8 RGB (h, w, 3)."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            yield _to_rgb(frame)


@dataclass(frozen=True)
class OwnFrames:
    """The frames of `read_video`, which can be gone through more than once."""

    path: Path

    def __iter__(self) -> Iterator[np.ndarray]:
        return read_video(self.path)


def read_masks(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a mask video, uint8 0/1 (h, w)."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            grey = _grey_mask(frame)
            yield _to_mask(_to_rgb(frame)) if grey is None else grey


def read_at(path: Path, positions: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the frames at some positions of one of the clip's own videos, uint8 RGB (h, w, 3)."""
    for position in positions:
        yield read_segment(path, position, position + 1)[0]


def read_masks_at(path: Path, positions: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the frames at some positions of a mask video, uint8 0/1 (h, w)."""
    return map(_to_mask, read_at(path, positions))


def read_segment(path: Path, start: int, stop: int) -> np.ndarray:
    """Return frames `start`..`stop` (the end left out) of one of the clip's own videos.

    The result is uint8 RGB (stop - start, h, w, 3). Decoding begins at the keyframe before
    `start`, so a segment far into a long video costs no more than one at its beginning.
    """
    frames = []
    with av.open(str(path)) as container, ThreadPoolExecutor(CONVERTERS) as converters:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        ticks = 1 / (stream.average_rate * stream.time_base)
        container.seek(round(start * ticks), stream=stream)
        for frame in container.decode(stream):
            if frame.pts >= round(stop * ticks):
                break
            if frame.pts >= round(start * ticks):
                frames.append(converters.submit(_to_rgb, frame))
    if len(frames) != stop - start:
        raise ClipError(f"{path} has no frames {start} to {stop}; delete it and run again")
    return np.stack([frame.result() for frame in frames])


def video_info(path: Path) -> VideoInfo:
    """Return what the header of one of the clip's own videos says."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return VideoInfo(
            stream.frames, Fraction(stream.average_rate), (stream.width, stream.height)
        )


class VideoWriter:
    """Write uint8 RGB frames to an H.264 mp4 that browsers play; a context manager.

    `size` is (width, height), both even; `frame_rate` is exact. `quality` is "picture" (faces,
    backgrounds; 40 dB even of noise), "drawing" (skeletons; 45 dB), "mask" (0 and 255 survive a
    threshold of 127), "result", "overlay" (lines and text in a picture) or "preview". The decibels
    are of the 4:2:0 planes: of the RGB of a drawing, 4:2:0 itself keeps 32 to 36 dB. "exact" keeps
    every value, in a file that browsers do not play, of 0.5 bytes (clean pictures) to 1.4 (noisy
    ones) for each pixel of a frame.
    The file appears under its name when the block ends without an error.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], frame_rate: Fraction, quality: str = "picture"
    ) -> None:
        self._path, self._size, self._rate = Path(path), size, Fraction(frame_rate)
        # Without B-frames every reader agrees on the time of the first frame.
        self._exact = quality == "exact"
        coding = EXACT_CODEC if self._exact else {"crf": str(CRF[quality])}
        self._options = ENCODER | coding
        if quality in QMAX:
            self._options["qmax"] = str(QMAX[quality])
        if quality not in ("overlay", "preview"):
            self._options |= REPEATABLE
        self._count = 0
        self._files = ExitStack()

    def __enter__(self) -> "VideoWriter":
        temporary = self._files.enter_context(atomic_output(self._path))
        container = av.open(str(temporary), "w", options={"movflags": "+faststart"})
        self._container = self._files.enter_context(container)
        codec = "libx264rgb" if self._exact else "libx264"
        stream = self._container.add_stream(codec, rate=self._rate, options=self._options)
        stream.width, stream.height = self._size
        stream.pix_fmt = "rgb24" if self._exact else "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.color_primaries = context.color_trc = BT709
        if not self._exact:
            context.colorspace, context.color_range = BT709, ColorRange.MPEG
        self._stream = stream
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame (h, w, 3) uint8 RGB, or (h, w) uint8 grey."""
        if frame.ndim == 2:
            frame = np.repeat(frame[..., None], 3, axis=2)
        if frame.shape[1::-1] != tuple(self._size):
            raise ValueError(f"frame of {frame.shape[1::-1]} in a video of {self._size}")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if not self._exact:
            picture = picture.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=EXACT
            )
        picture.pts, picture.time_base, picture.duration = self._count, 1 / self._rate, 1
        self._container.mux(self._stream.encode(picture))
        self._count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode())
        self._files.__exit__(kind, error, trace)


def _to_mask(frame: np.ndarray) -> np.ndarray:
    return (frame[..., 0] > MASK_THRESHOLD).astype(np.uint8)


def _grey_mask(frame: VideoFrame) -> np.ndarray | None:
    """Return what `_to_mask` makes of a grey picture, in half the time; None of another."""
    if frame.format.name != "yuv420p" or frame.color_range == ColorRange.JPEG:
        return None
    planes = frame.to_ndarray()
    if (planes[frame.height :] != NEUTRAL).any():
        return None
    return (planes[: frame.height] > MASK_LUMA).view(np.uint8)


def _to_rgb(frame: VideoFrame) -> np.ndarray:
    return frame.reformat(format="rgb24", interpolation=EXACT).to_ndarray()
