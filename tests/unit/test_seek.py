"""A clip late in a film: decoding begins at a keyframe, and its frames are those of the film."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from animate.video import files, source
from animate.video.files import read_frames
from animate.video.timeline import Timeline, make_timeline
from difficult import write_clip

COUNT, SIZE = 300, (96, 64)
START, END = 9.0, 9.7
# 24 frames/s; every third frame comes late.
UNEVEN_MS = [round(1000 * n / 24) + 12 * (n % 3) for n in range(COUNT)]
OPEN_GOP = {"x264-params": "keyint=50:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}


def film() -> list[np.ndarray]:
    """Return frames that all differ and move, so that a frame needs those before it."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    ground = cv2.resize(noise, (SIZE[0] + COUNT, SIZE[1]), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(ground[:, n : n + SIZE[0]]) for n in range(COUNT)]


def remux(path: Path, made: Path, shift: int = 0, flags: bool = True, **options: str) -> Path:
    """Copy the packets of `made`, `shift` frames earlier, and without keyframe flags if wanted."""
    with av.open(str(made)) as origin, av.open(str(path), "w", options=options) as target:
        copy = target.add_stream_from_template(origin.streams.video[0])
        for packet in origin.demux(video=0):
            if packet.dts is None:
                continue
            ticks = round(shift / (24 * packet.time_base))
            packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
            packet.is_keyframe = packet.is_keyframe and flags
            packet.stream = copy
            target.mux(packet)
    return path


def clip(name: str, **options) -> Callable[[Path], Path]:
    return lambda folder: write_clip(folder / name, film(), **options)


def remuxed(name: str, **options) -> Callable[[Path], Path]:
    return lambda folder: remux(folder / name, clip("made.mp4", options=KEYS)(folder), **options)


def loaded(name: str) -> Callable[[Path], Path]:
    """Write a stream without times, whose frames a decoder can only count."""
    return lambda folder: remux(folder / name, clip("made.mp4", options=KEYS)(folder))


KEYS = {"g": "48"}
INTERLACED = {"x264-params": "interlaced=1:tff=1:keyint=48"}
NO_KEYFRAMES = {"x264-params": "intra-refresh=1:keyint=50:bframes=0"}
# How each film is made, and whether decoding can begin late.
FILMS = {
    "B-frames": (clip("a.mp4", options={"g": "48", "bf": "3"}), True),
    "open GOP": (clip("a.mp4", options=OPEN_GOP), True),
    "open GOP, transport stream": (clip("a.ts", options=OPEN_GOP), True),
    "open GOP, MKV": (clip("a.mkv", options=OPEN_GOP), True),
    "variable rate": (clip("a.mp4", times=UNEVEN_MS, options=KEYS), True),
    "variable rate, MKV": (clip("a.mkv", times=UNEVEN_MS, options=KEYS), True),
    "edit list": (remuxed("a.mp4", shift=10, avoid_negative_ts="disabled"), True),
    "no keyframe flags": (remuxed("a.mkv", flags=False), None),
    "keyframes that are none": (clip("a.mp4", options=NO_KEYFRAMES), None),
    "one keyframe": (clip("a.mp4", options={"g": "9999"}), None),
    "transport stream": (clip("a.ts", options=KEYS), True),
    "interlaced": (clip("a.mp4", options=INTERLACED), True),
    "MPEG-2": (clip("a.mpg", rate=Fraction(25), codec="mpeg2video"), None),
    "VP9": (clip("a.webm", codec="libvpx-vp9", options={"g": "48", "cpu-used": "8"}), True),
    "10 bits": (clip("a.mp4", pix_fmt="yuv420p10le", options=KEYS), True),
    "motion JPEG": (clip("a.avi", codec="mjpeg", pix_fmt="yuvj420p"), None),
    "no times": (loaded("a.h264"), False),
}


def read(video: Path, timeline: Timeline, monkeypatch) -> tuple[list[np.ndarray], int]:
    """Return a clip's frames, and how many were decoded for them."""
    decoded = 0

    def counted(*args):
        nonlocal decoded
        for frame in decode(*args):
            decoded += 1
            yield frame

    with monkeypatch.context() as patch:
        decode = source._decode
        patch.setattr(source, "_decode", counted)
        return list(read_frames(video, timeline)), decoded


@pytest.mark.parametrize("name", FILMS)
def test_a_late_clip_has_the_frames_of_the_whole_film(tmp_path, monkeypatch, name):
    make, late = FILMS[name]
    video = make(tmp_path)
    timeline = make_timeline(video, resolution_area=SIZE[0] * SIZE[1], fps=24, start=START, end=END)
    timeline.to_json(tmp_path / "timeline.json")
    assert Timeline.from_json(tmp_path / "timeline.json") == timeline
    found, decoded = read(video, timeline, monkeypatch)
    expected, all_before = read(video, replace(timeline, entry=None), monkeypatch)
    assert len(found) == len(expected) == timeline.frame_count
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all_before >= timeline.source_indices[-1]
    if late is not None:
        assert (timeline.entry is not None) == late
        assert (decoded < 0.5 * all_before) == late


def test_frames_that_are_not_shown_are_not_converted(tmp_path, monkeypatch):
    video = clip("a.mp4", options=KEYS)(tmp_path)
    timeline = make_timeline(video, resolution_area=SIZE[0] * SIZE[1], fps=6, start=START, end=END)
    converted = []
    upright = source.upright
    monkeypatch.setattr(source, "upright", lambda *args: converted.append(1) or upright(*args))
    every = list(files.read_frames(video, timeline))
    assert len(every) == len(converted) == 4
    chosen = list(files.read_frames(video, timeline, [1, 3]))
    assert len(converted) == 6 and np.array_equal(chosen, every[1::2])


def test_a_film_that_changed_since_is_named(tmp_path):
    video = clip("a.mp4", options=KEYS)(tmp_path)
    timeline = make_timeline(video, resolution_area=SIZE[0] * SIZE[1], start=START, end=END)
    write_clip(video, film()[:50])
    with pytest.raises(files.ClipError, match=r"a\.mp4 has changed since"):
        list(read_frames(video, timeline))
