"""The report's page of one clip, in one file: small videos that play in step, and the settings."""

import base64
import tempfile
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from animate.config.models.known import SMALL_MODELS
from animate.editing.outcome import UNEDITED
from animate.results.poster import shrunk
from animate.results.templates import EDITED, Track, changed_first, place_in_frame, render
from animate.video.files import VideoWriter, read_video
from animate.video.reference import load_reference
from animate.video.sound import mux_sound
from animate.video.timeline import Timeline

PREVIEW_SECONDS = 10
PREVIEW_SIDE = 400
SMALLEST_SIDE = 80
PREVIEW_SHEET_SIDE = 1000
SOUND_BITS_PER_SECOND = 64_000
# Chromium opens no data: address above 2 MiB, and the report writes the whole page into one.
VIDEO_BYTES = 280_000


def render_page(
    driving: Path,
    timeline: Timeline,
    pose: Path | None,
    reference: Path,
    result: Path,
    provenance: dict[str, Any],
    preview: Path,
    metrics: dict[str, Any],
    edited: Sequence[Path] = (),
) -> str:
    """Return a self-contained HTML page; pictures are small, videos short.

    `edited` are the pictures that an editor made, named in `EDITED`; where it had nothing to edit,
    they are as they were, and not shown.
    """
    rate = timeline.frame_rate
    videos = {"Driving video": driving} | ({"Pose": pose} if pose else {})
    tracks = [Track(name, _video_data(read_video(path), rate)) for name, path in videos.items()]
    shown = _video_data(read_video(result), rate, sound=result)
    tracks.append(Track("Result", shown, place_in_frame(provenance)))
    changed, others = changed_first(provenance["settings"])
    if UNEDITED in metrics.get("edit_problems", {}).values():
        edited = ()
    return render(
        "clip.html.j2",
        clip=provenance["clip"],
        mode=provenance["mode"],
        posed=pose is not None,
        notice=SMALL_MODELS.get(Path(provenance["model"]["path"]).name),
        tracks=tracks,
        shape=provenance["output"],
        rate=float(rate),
        cuts=timeline.shots[1:],
        edited={EDITED[path.stem]: _image_data(load_reference(path)) for path in edited},
        reference=_image_data(load_reference(reference)),
        preview=_image_data(load_reference(preview), PREVIEW_SHEET_SIDE),
        changed=changed,
        others=others,
        metrics=metrics,
        shots=[timeline.clock(*span) for span in pairwise([*timeline.shots, timeline.frame_count])],
        record=provenance,
        gallery=None,
    )


def _video_data(frames: Iterable[np.ndarray], rate: Fraction, sound: Path | None = None) -> str:
    """Return the first seconds as a data URI of an H.264 video, with a file's sound where given."""
    frames = islice(frames, round(PREVIEW_SECONDS * rate))
    small = [shrunk(frame, PREVIEW_SIDE) for frame in frames]
    side, content = PREVIEW_SIDE, _encode(small, rate, sound)
    while len(content) > VIDEO_BYTES and side > SMALLEST_SIDE:
        side = max(int(0.9 * side * sqrt(VIDEO_BYTES / len(content))), SMALLEST_SIDE)
        content = _encode([shrunk(frame, side) for frame in small], rate, sound)
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
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(shrunk(image, side), cv2.COLOR_RGB2BGR))
    return _data_uri("image/jpeg", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
