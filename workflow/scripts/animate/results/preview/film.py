"""The driving video with what was found in it: skeleton, boxes and mask, and a strip below."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np

from animate.prefetch import prefetch
from animate.results.preview.colours import ALARM, PAPER
from animate.results.preview.findings import Findings
from animate.results.preview.moments import named_faults
from animate.results.preview.overlay import (
    draw_ruler,
    face_frame,
    outline,
    people_boxes,
    put_over,
    skeleton,
    tint,
)
from animate.results.preview.strip import Strip, draw_strip
from animate.results.preview.text import write
from animate.results.preview.view import View
from animate.video.files import VideoWriter
from animate.video.letterbox import Letterbox
from animate.video.sound import mux_sound

# Of the longer side, in pixels: smaller frames are enlarged, so that text has room.
LONGEST, SHORTEST = 1280, 640
GUTTER = 76
LINE = 24
TEXT_SIZE = 15
# How long the box of somebody who was numbered in a frame stays.
BOX_SECONDS = 1


@dataclass(frozen=True)
class Played:
    """What plays: streams of one picture a frame, or None, of what the clip does not have.

    `driving` are uint8 RGB upright driving frames; `pose` is drawn, RGB on black, and is shown
    where no keypoints are known; `person_mask` and `mask` are uint8 0/1; these have the model's
    size.
    """

    driving: Iterable[np.ndarray]
    pose: Iterable[np.ndarray] | None = None
    person_mask: Iterable[np.ndarray] | None = None
    mask: Iterable[np.ndarray] | None = None


def write_film(
    path: Path, found: Findings, played: Played, sound: Path | None, track: int = 1
) -> None:
    """Write an H.264 mp4 that browsers play, with one frame for each frame of the clip.

    Above a strip, which has a line at the frame that is seen, it has the shape of the driving
    video, and is at most 1280 pixels wide. Its sound is the `track` of the file `sound`, trimmed to
    the clip. Memory does not grow with the clip.
    """
    timeline = found.timeline
    # Of one name, so that a killed process leaves no more than one behind.
    silent = path.with_name(f".{path.stem}.silent{path.suffix}")
    try:
        _write_silent(silent, found, prefetch(_pictures(found, played)))
        mux_sound(silent, sound, float(timeline.start), path, track=track)
    finally:
        silent.unlink(missing_ok=True)


def _write_silent(path: Path, found: Findings, pictures: Iterator[np.ndarray]) -> None:
    first = next(pictures)
    size = first.shape[1::-1]
    with VideoWriter(path, size, found.timeline.frame_rate, "overlay") as video:
        for picture in chain([first], pictures):
            video.write(picture)


def _pictures(found: Findings, played: Played) -> Iterator[np.ndarray]:
    timeline, keypoints = found.timeline, found.keypoints
    view = _view(found)
    strip = _strip(found, view.size[0])
    ruler = np.zeros((*view.size[::-1], 3), np.uint8)
    draw_ruler(ruler, view, grid=False)
    stays = round(BOX_SECONDS * timeline.frame_rate)
    count = timeline.frame_count
    streams = (played.pose, played.person_mask, played.mask)
    streams = [repeat(None, count) if stream is None else prefetch(stream) for stream in streams]
    frames = zip(played.driving, *streams, strict=True)
    for number, (frame, pose, person, mask) in enumerate(frames):
        picture = view.picture(frame)
        if mask is not None:
            tint(picture, view.of_model(mask))
        if person is not None:
            outline(picture, view.of_model(person))
        if keypoints is not None:
            put_over(picture, skeleton(view, keypoints, number), halo=True)
        elif pose is not None:
            put_over(picture, view.of_model(pose, cv2.INTER_LINEAR), halo=True)
        if found.face_boxes is not None:
            face_frame(picture, view, found.face_boxes[number])
        people_boxes(picture, view, found.people_at(number, stays))
        put_over(picture, ruler)
        words = _caption(found, number, view.size[0])
        yield np.concatenate([picture, words, strip.with_playhead(number)])


def _view(found: Findings) -> View:
    source, model = found.timeline.source_size, found.timeline.model_size
    longest = min(max(*Letterbox(source, model).inner, SHORTEST), LONGEST)
    return View.within(source, model, (longest, longest))


def _strip(found: Findings, width: int) -> Strip:
    timeline = found.timeline
    rate, shots = float(timeline.frame_rate), timeline.shots
    size = (GUTTER, width)
    return draw_strip(found.states, timeline.frame_count, rate, shots, found.segments, size)


def _caption(found: Findings, frame: int, width: int) -> np.ndarray:
    """Return a line of text: when it is, and what is wrong."""
    line = np.full((LINE, width, 3), PAPER, np.uint8)
    shot = bisect_right(found.timeline.shots, frame)
    segment = bisect_right(found.segments, frame)
    write(line, (4, 2), f"{found.seconds(frame):.2f} s", TEXT_SIZE)
    write(line, (94, 2), f"frame {frame}   shot {shot}   segment {segment}", TEXT_SIZE)
    write(line, (370, 2), ", ".join(named_faults(frame, found.faults)), TEXT_SIZE, ALARM)
    return line
