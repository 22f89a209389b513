"""The last frames of a clip's videos, for a clip that goes on from there."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from animate.atomic import atomic_output
from animate.errors import ClipError
from animate.video.files import read_segment, video_info


def save_last_frames(path: Path, videos: dict[str, Path], count: int) -> None:
    """Write the last `count` frames of some videos of equal length, by their roles.

    Raises:
        ClipError: a video has fewer frames.
    """
    found = {}
    for role, video in videos.items():
        frames = video_info(video).frame_count
        if frames < count:
            raise ClipError(
                f"{video} has {frames} frames, fewer than the {count} conditioning frames:"
                " go on from a longer clip, or set conditioning_frames lower"
            )
        found[role] = np.ascontiguousarray(read_segment(video, frames - count, frames))
    with atomic_output(path) as temporary:
        save_file(found, temporary)


def load_last_frames(path: Path) -> dict[str, np.ndarray]:
    """Return the frames (n, h, w, 3) uint8 that `save_last_frames` wrote, by their roles.

    Raises:
        ClipError: the file cannot be read.
    """
    try:
        return load_file(path)
    except Exception as error:
        raise ClipError(f"{path} cannot be read ({error}): delete it and run again") from error
