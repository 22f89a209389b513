"""Sheet and video of a clip whose model sees the driving video: its frames beside the reference."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.atomic import atomic_output
from animate.results.preview.colours import ALARM, INK, PAPER
from animate.results.preview.moments import choose_moments
from animate.results.preview.strip import draw_strip
from animate.results.preview.text import label, write
from animate.video.files import VideoWriter
from animate.video.sound import mux_sound
from animate.video.timeline import Timeline

WIDTH, GUTTER, GAP, LINE = 1760, 116, 4, 24
TILE = (400, 400)
TITLE_SIZE, TEXT_SIZE = 18, 15
# Of a film's two pictures, the longest side of each.
LONGEST = 640
# A sentence is broken into lines of so many letters.
LETTERS = 200


def moments(timeline: Timeline, segments: Sequence[int]) -> list[int]:
    """Return the frames that the sheet shows, ascending: where segments begin, and between."""
    return choose_moments(timeline.frame_count, timeline.shots, None, segments[:8])


def write_sheet(
    path: Path,
    clip: str,
    timeline: Timeline,
    segments: Sequence[int],
    reference: np.ndarray,
    frames: Sequence[int],
    driving: Iterable[np.ndarray],
    problems: Sequence[str],
) -> None:
    """Write the sheet of a clip as a PNG.

    It has a title, what is wrong with the framing, the strip over the whole clip, and the
    reference before the `driving` frames at `frames`, all (h, w, 3) uint8 RGB of the model's size,
    bars included. `segments` are the first frames of each.
    """
    width, height = timeline.model_size
    name = f"{clip}: " if clip else ""
    head = (
        f"{name}{timeline.frame_count} frames, {float(timeline.frame_rate):g} a second,"
        f" {float(timeline.duration):.2f} s, as the model sees them in {width} x {height}"
    )
    parts = [label(head, TITLE_SIZE)]
    parts += [label(line, TEXT_SIZE, ALARM) for text in problems for line in _lines(text)]
    size = (GUTTER, WIDTH)
    rate = float(timeline.frame_rate)
    strip = draw_strip({}, timeline.frame_count, rate, timeline.shots, segments, size, frames)
    parts.append(strip.picture)
    tiles = [_tile(reference, "reference")]
    for frame, picture in zip(frames, driving, strict=True):
        segment = bisect_right(segments, frame)
        words = f"{float(frame / timeline.frame_rate):.2f} s, frame {frame}, segment {segment}"
        tiles.append(_tile(picture, words))
    across = max(WIDTH // (tiles[0].shape[1] + GAP), 1)
    for first in range(0, len(tiles), across):
        parts.append(np.concatenate(tiles[first : first + across], axis=1))
    with atomic_output(path) as temporary:
        Image.fromarray(np.concatenate([_widened(part) for part in parts])).save(temporary)


def write_film(
    path: Path,
    timeline: Timeline,
    segments: Sequence[int],
    reference: np.ndarray,
    driving: Iterable[np.ndarray],
    sound: Path | None,
    track: int = 1,
) -> None:
    """Write an H.264 mp4 with one frame for each of the clip: reference and driving frame.

    Below is a strip with a line at the frame that is seen. Its sound is the `track` of the file
    `sound`, trimmed to the clip. Arguments are otherwise those of `write_sheet`.
    """
    # Of one name, so that a killed process leaves no more than one behind.
    silent = path.with_name(f".{path.stem}.silent{path.suffix}")
    try:
        pictures = _pictures(timeline, segments, reference, driving)
        first = next(pictures)
        with VideoWriter(silent, first.shape[1::-1], timeline.frame_rate, "overlay") as video:
            for picture in chain([first], pictures):
                video.write(picture)
        mux_sound(silent, sound, float(timeline.start), path, track=track)
    finally:
        silent.unlink(missing_ok=True)


def _pictures(
    timeline: Timeline,
    segments: Sequence[int],
    reference: np.ndarray,
    driving: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:
    scale = LONGEST / max(timeline.model_size)
    size = tuple(max(round(side * scale / 2) * 2, 2) for side in timeline.model_size)
    left = cv2.resize(reference, size, interpolation=cv2.INTER_AREA)
    count, rate = timeline.frame_count, float(timeline.frame_rate)
    shots = timeline.shots
    strip = draw_strip({}, count, rate, shots, segments, (GUTTER, 2 * size[0]))
    # An odd height is no video's.
    filling = np.full((strip.picture.shape[0] % 2, 2 * size[0], 3), PAPER, np.uint8)
    for number, frame in enumerate(driving):
        words = np.full((LINE, 2 * size[0], 3), PAPER, np.uint8)
        shot, segment = bisect_right(shots, number), bisect_right(segments, number)
        text = f"{number / rate:.2f} s   frame {number}   shot {shot}   segment {segment}"
        write(words, (size[0] + GAP, 2), text, TEXT_SIZE)
        write(words, (GAP, 2), "reference", TEXT_SIZE)
        right = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        both = np.concatenate([left, right], axis=1)
        yield np.concatenate([both, words, strip.with_playhead(number), filling])


def _lines(text: str) -> Iterator[str]:
    """Yield a sentence in lines that the sheet has room for."""
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= LETTERS:
            yield line
            line = ""
        line += f" {word}" if line else word
    yield line


def _tile(picture: np.ndarray, words: str) -> np.ndarray:
    scale = min(TILE[0] / picture.shape[1], TILE[1] / picture.shape[0])
    size = tuple(max(round(side * scale), 1) for side in picture.shape[1::-1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    width = max(size[0], label("00000.00 s, frame 00000, segment 000", TEXT_SIZE).shape[1])
    tile = np.full((LINE + size[1] + GAP, width + GAP, 3), PAPER, np.uint8)
    write(tile, (0, 2), words, TEXT_SIZE, INK)
    tile[LINE : LINE + size[1], : size[0]] = small
    return tile


def _widened(part: np.ndarray) -> np.ndarray:
    sheet = np.full((part.shape[0], WIDTH, 3), PAPER, np.uint8)
    sheet[:, : part.shape[1]] = part[:, :WIDTH]
    return sheet
