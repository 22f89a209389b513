"""The report's page of one clip: four pictures side by side, playing, and the settings."""

import base64
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice, pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from animate.video.files import VideoWriter, read_frames, read_video, video_info
from animate.video.reference import load_reference
from animate.video.sound import mux_sound
from animate.video.timeline import Timeline

TEMPLATES = Path(__file__).parents[3] / "report"
PREVIEW_SECONDS = 10
PREVIEW_SIDE = 400
SMALLEST_SIDE = 80
PREVIEW_SHEET_SIDE = 1000
SOUND_BITS_PER_SECOND = 64_000
# Chromium opens no data: address above 2 MiB, and the report writes the whole page into one.
VIDEO_BYTES = 280_000


def render_page(
    driving_video: Path,
    timeline: Timeline,
    pose: Path,
    reference: Path,
    result: Path,
    provenance: dict[str, Any],
    preview: Path,
    metrics: dict[str, Any],
) -> str:
    """Return a self-contained HTML page; pictures are small, videos short."""
    driving = _video_data(read_frames(driving_video, timeline), timeline.frame_rate)
    drawn = _video_data(read_video(pose), timeline.frame_rate)
    finished = _video_data(read_video(result), video_info(result).frame_rate, sound=result)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True
    )
    return environment.get_template("clip.html.j2").render(
        clip=provenance["clip"],
        mode=provenance["mode"],
        noise_by_design=provenance["model"]["path"].endswith("tiny"),
        driving=driving,
        pose=drawn,
        reference=_image_data(load_reference(reference)),
        result=finished,
        preview=_image_data(load_reference(preview), PREVIEW_SHEET_SIDE),
        metrics=metrics,
        shots=[timeline.clock(*span) for span in pairwise([*timeline.shots, timeline.frame_count])],
        settings=provenance["settings"],
        output=provenance["output"],
        inputs=provenance["inputs"],
        sampling=provenance["sampling"],
        packages=provenance["packages"],
    )


def _shrunk(frame: np.ndarray, side: int = PREVIEW_SIDE) -> np.ndarray:
    """Return the frame with even sides, the longer of them at most `side`."""
    height, width = frame.shape[:2]
    scale = min(1, side / max(height, width))
    size = tuple(max(2, round(length * scale / 2) * 2) for length in (width, height))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _video_data(frames: Iterable[np.ndarray], rate: Fraction, sound: Path | None = None) -> str:
    """Return the first seconds as a data URI of an H.264 video, with a file's sound where given."""
    shrunk = [_shrunk(frame) for frame in islice(frames, round(PREVIEW_SECONDS * rate))]
    side, content = PREVIEW_SIDE, _encode(shrunk, rate, sound)
    while len(content) > VIDEO_BYTES and side > SMALLEST_SIDE:
        side = max(int(0.9 * side * sqrt(VIDEO_BYTES / len(content))), SMALLEST_SIDE)
        content = _encode([_shrunk(frame, side) for frame in shrunk], rate, sound)
    return _data_uri("video/mp4", content)


def _encode(frames: list[np.ndarray], rate: Fraction, sound: Path | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        silent, finished = Path(folder) / "silent.mp4", Path(folder) / "preview.mp4"
        with VideoWriter(silent, frames[0].shape[1::-1], rate, "preview") as writer:
            for frame in frames:
                writer.write(frame)
        mux_sound(silent, sound, 0, finished, SOUND_BITS_PER_SECOND)
        return finished.read_bytes()


def _image_data(image: np.ndarray, side: int = PREVIEW_SIDE) -> str:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(_shrunk(image, side), cv2.COLOR_RGB2BGR))
    return _data_uri("image/jpeg", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
