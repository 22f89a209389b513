"""The frames that a segment is sampled from. Shapes: F frames, h and w pixels."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from animate.errors import ClipError
from animate.sampling.segments import Segment
from animate.video.files import read_segment, video_info

MASK_THRESHOLD = 127


class Frames(Protocol):
    """The frames of a segment, uint8 (F, h, w, 3): what is sampled around, if anything is."""

    background: np.ndarray | None
    mask: np.ndarray | None

    @property
    def driver(self) -> np.ndarray:
        """The video that says how the person moves."""


@dataclass(frozen=True)
class SegmentFrames:
    """Those of drawn poses and cropped faces; the last two in replacement only."""

    pose: np.ndarray
    face: np.ndarray
    background: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def driver(self) -> np.ndarray:
        """The video that says how the person moves."""
        return self.pose


@dataclass(frozen=True)
class DrivenFrames:
    """Those of a model that sees the driving video itself."""

    driving: np.ndarray
    background: None = None
    mask: None = None

    @property
    def driver(self) -> np.ndarray:
        """The driving video."""
        return self.driving


def check_lengths(inputs: dict[str, Path], driver: str, frame_count: int) -> None:
    """Raise a `ClipError` when a video's frame count differs from that of the `driver` video."""
    for name, path in inputs.items():
        if (count := video_info(path).frame_count) != frame_count:
            raise ClipError(
                f"{path} ({name}) has {count} frames but the {driver} video {frame_count}:"
                " make the clip's inputs again"
            )


def read_frames(
    inputs: dict[str, Path],
    segments: Iterable[Segment],
    before: dict[str, np.ndarray],
    kind: Callable[..., Frames] = SegmentFrames,
) -> Iterator[Frames]:
    """Yield the frames of each segment from the clip's src_*.mp4 files.

    `inputs` has the videos by the names that `kind` takes them by. `before` has the last frames
    (n, h, w, 3) of each of the clip that this one goes on from, if it does.
    """
    with ThreadPoolExecutor(len(inputs)) as readers:
        for segment in segments:
            known = [before.get(name) for name in inputs]
            frames = readers.map(partial(_frames_of, segment), inputs.values(), known)
            yield kind(**dict(zip(inputs, frames, strict=True)))


def _frames_of(segment: Segment, path: Path, before: np.ndarray | None) -> np.ndarray:
    start, stop = segment.window
    frames = read_segment(path, max(0, start), stop)
    if start < 0:
        frames = np.concatenate((before[start:], frames))
    rows = np.array(segment.sources) - start
    # Most segments are what was read, as it is; a copy would take as long as reading.
    return frames if np.array_equal(rows, np.arange(stop - start)) else frames[rows]


def as_video(frames: np.ndarray) -> torch.Tensor:
    """Return frames (F, h, w, 3) as a video (1, 3, F, h, w), uint8 as they are."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None]
