"""What a segment is sampled from: its frames, and the latents and mask made of them.

Shapes: F frames, h and w pixels, T = 1 + (F - 1) / 4 latent frames.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from animate.errors import ClipError
from animate.matte.grid import CELL, cells
from animate.model.vae import VideoCodec
from animate.sampling.segments import Segment
from animate.video.files import read_segment, video_info

MASK_THRESHOLD = 127


@dataclass(frozen=True)
class SegmentFrames:
    """The frames of a segment, uint8 (F, h, w, 3); the last two in replacement only."""

    pose: np.ndarray
    face: np.ndarray
    background: np.ndarray | None = None
    mask: np.ndarray | None = None


def check_lengths(inputs: dict[str, Path], frame_count: int) -> None:
    """Raise a `ClipError` when a video's frame count differs from the clip's."""
    for name, path in inputs.items():
        if (count := video_info(path).frame_count) != frame_count:
            raise ClipError(
                f"{path} ({name}) has {count} frames but the pose video {frame_count}:"
                " make the clip's inputs again"
            )


def read_frames(
    inputs: dict[str, Path], segments: Iterable[Segment], before: dict[str, np.ndarray]
) -> Iterator[SegmentFrames]:
    """Yield the frames of each segment from the clip's src_*.mp4 files.

    `inputs` has "pose" and "face", and "background" and "mask" in replacement. `before` has the
    last ones (n, h, w, 3) of each of the clip that this one goes on from, if it does.
    """
    with ThreadPoolExecutor(len(inputs)) as readers:
        for segment in segments:
            known = [before.get(name) for name in inputs]
            frames = readers.map(partial(_frames_of, segment), inputs.values(), known)
            yield SegmentFrames(**dict(zip(inputs, frames, strict=True)))


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


def reference_condition(codec: VideoCodec, reference: torch.Tensor) -> torch.Tensor:
    """Return mask and latents (1, 20, 1, h / 8, w / 8) of the reference (1, 3, h, w) in -1..1."""
    latents = codec.encode(reference[:, :, None])
    return torch.cat((torch.ones_like(latents[:, :4]), latents), dim=1)


def given_video(
    previous: torch.Tensor | None,
    frames: SegmentFrames,
    device: torch.device,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return what is given of the segment itself: its mask (1, 4, T, h / 8, w / 8) and its parts.

    The parts are what a `VideoCodec` encodes: the frames sampled before, `previous`
    (1, 3, n, h, w) in -1..1 if any, and in replacement the background outside the person's mask.
    What is not given is made on `device`.
    """
    length, height, width = frames.pose.shape[:3]
    known = 0 if previous is None else previous.shape[2]
    if frames.background is None:
        rest = nothing(length, height, width, device)
        mask = torch.zeros(length, height // CELL, width // CELL)
    else:
        rest = as_video(frames.background)
        mask = background_mask(frames.mask)
    if known:
        mask[:known] = 1
    return fold_mask(mask), [*([previous] if known else []), rest[:, :, known:]]


def nothing(length: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Return the video (1, 3, length, height, width) that stands for nothing: zeros, one in memory.

    It is fp32 in -1..1.
    """
    return torch.zeros(1, 1, 1, 1, 1, device=device).expand(1, 3, length, height, width)


def background_mask(mask: np.ndarray) -> torch.Tensor:
    """Return 1 where the background is kept, (F, h / 8, w / 8), of a person mask (F, h, w, 3).

    The mask is uint8, the person above 127; each 8x8 cell takes its first pixel.
    """
    return torch.from_numpy(cells(mask[..., 0]) <= MASK_THRESHOLD).float()


def fold_mask(mask: torch.Tensor) -> torch.Tensor:
    """Return a mask (F, h, w) with a latent frame's four frames as channels: (1, 4, T, h, w).

    The first frame, which has a latent of its own, counts four times.
    """
    repeated = torch.cat((mask[:1].expand(4, -1, -1), mask[1:]))
    return repeated.unflatten(0, (-1, 4)).transpose(0, 1)[None]
