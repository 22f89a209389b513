"""The sheet: a clip's worst moments side by side, on which a person sees what went wrong."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from animate.atomic import atomic_output
from animate.results.preview.colours import ALARM, CUT, FAINT, PAPER, PERSON, REPAINTED
from animate.results.preview.findings import Findings
from animate.results.preview.legend import draw_legend
from animate.results.preview.moments import choose_moments, named_faults
from animate.results.preview.overlay import (
    draw_ruler,
    face_frame,
    outline,
    people_boxes,
    put_over,
    skeleton,
    tint,
)
from animate.results.preview.strip import draw_strip
from animate.results.preview.text import label, write
from animate.results.preview.view import View

WIDTH = 1760
GAP = 4
# Left of the columns, for the rows' names.
GUTTER = 116
LARGE_TILE, SMALL_TILE = (400, 300), (196, 196)
# With more moments than this the tiles are small.
LARGE_MOMENTS = 12
MOST_PEOPLE = 9
TITLE_SIZE, TIME_SIZE, FAULT_SIZE = 18, 17, 13
DIMMED = 0.45
# Thin lines stay visible in a small tile.
THICKER = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Shown:
    """The pictures at some frames of a clip: streams of one for each of the frames, or None.

    `driving` are uint8 RGB upright driving frames; `pose` and `face` what the model sees, uint8
    RGB; `person_mask` and `mask` uint8 0/1. All but driving and face are of the model's size.
    """

    driving: Iterable[np.ndarray]
    pose: Iterable[np.ndarray] | None = None
    face: Iterable[np.ndarray] | None = None
    person_mask: Iterable[np.ndarray] | None = None
    mask: Iterable[np.ndarray] | None = None


def moments(found: Findings) -> list[int]:
    """Return the frames that the sheet shows, ascending."""
    timeline = found.timeline
    wanted = list(dict.fromkeys(person.frame for person in found.people))[:MOST_PEOPLE]
    return choose_moments(timeline.frame_count, timeline.shots, found.faults, wanted)


def write_sheet(
    path: Path,
    clip: str,
    found: Findings,
    frames: Sequence[int],
    shown: Shown,
    edited: np.ndarray | None = None,
) -> None:
    """Write the sheet of a clip as a PNG.

    It has a title, the legend, the strip over the whole clip, and for each of the `frames` a
    column: its time and its faults, then named rows of pictures. A red line is left of the first
    column of a new shot. The edited pictures of a clip that has some stand last, as one picture.
    """
    box = LARGE_TILE if len(frames) <= LARGE_MOMENTS else SMALL_TILE
    timeline = found.timeline
    view = View.within(timeline.source_size, timeline.model_size, box)
    columns = list(_columns(view, found, frames, shown))
    tile = max(tile.shape[1] for column in columns for tile in column.values())
    column_width = max(tile, label("00000.00 s", TIME_SIZE).shape[1]) + 2 * GAP
    across = max((WIDTH - GUTTER) // column_width, 1)
    sheet = [*_head(clip, found, frames)]
    for first in range(0, len(frames), across):
        part = slice(first, first + across)
        sheet.append(_times(found, frames, part, column_width))
        for name in columns[0]:
            tiles = [column[name] for column in columns[part]]
            sheet.append(_row(name, tiles, column_width))
        _mark_cuts(sheet[-1 - len(columns[0]) :], frames, part, timeline.shots, column_width)
    if edited is not None:
        scale = min(WIDTH / edited.shape[1], 1)
        size = round(scale * edited.shape[1]), round(scale * edited.shape[0])
        sheet.append(cv2.resize(edited, size, interpolation=cv2.INTER_AREA))
    with atomic_output(path) as temporary:
        Image.fromarray(np.concatenate([_widened(part) for part in sheet])).save(temporary)


def _columns(
    view: View, found: Findings, frames: Sequence[int], shown: Shown
) -> Iterator[dict[str, np.ndarray]]:
    """Yield for each of the frames its tiles, by the names of the rows."""
    streams = (shown.pose, shown.face, shown.person_mask, shown.mask)
    streams = [repeat(None, len(frames)) if stream is None else stream for stream in streams]
    for number, frame, *pictures in zip(frames, shown.driving, *streams, strict=True):
        yield _column(view, found, number, view.picture(frame), *pictures)


def _column(
    view: View,
    found: Findings,
    number: int,
    picture: np.ndarray,
    pose: np.ndarray | None,
    face: np.ndarray | None,
    person_mask: np.ndarray | None,
    mask: np.ndarray | None,
) -> dict[str, np.ndarray]:
    marked = picture.copy()
    draw_ruler(marked, view)
    if found.face_boxes is not None:
        face_frame(marked, view, found.face_boxes[number])
    people_boxes(marked, view, found.people_at(number))
    tiles = {"driving video,\npixels of the\nmodel's frame": marked}
    over = (picture * DIMMED).astype(np.uint8)
    if found.keypoints is not None:
        drawn = skeleton(view, found.keypoints, number, enlarged=2)
        tiles["skeleton as\nit was found"] = cv2.add(over, drawn)
    elif pose is not None:
        put_over(over, view.of_model(pose, cv2.INTER_AREA))
        tiles["pose over it"] = over
    if mask is not None:
        tint(picture, view.of_model(mask))
        outline(picture, view.of_model(mask), REPAINTED)
    if person_mask is not None:
        outline(picture, view.of_model(person_mask), PERSON)
    if mask is not None or person_mask is not None:
        tiles["mask: person,\nand what is\npainted anew"] = picture
    if pose is not None:
        tiles["pose as the\nmodel sees it"] = _shrunk(cv2.dilate(pose, THICKER), view.size)
    if face is not None:
        tiles["face as the\nmodel sees it"] = _shrunk(face, (min(view.size),) * 2)
    return tiles


def _shrunk(picture: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """Return a picture as large as it fits into a box (width, height)."""
    scale = min(box[0] / picture.shape[1], box[1] / picture.shape[0])
    size = tuple(max(int(side * scale), 1) for side in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _head(clip: str, found: Findings, frames: Sequence[int]) -> Iterator[np.ndarray]:
    timeline = found.timeline
    count, (width, height) = timeline.frame_count, timeline.model_size
    name = f"{clip}: " if clip else ""
    lines = [
        f"{name}{count} frames, {float(timeline.frame_rate):g} a second,"
        f" {float(timeline.duration):.2f} s",
        f"Points and boxes are in pixels of the model's frame of {width} x {height}; the driving"
        f" video has {timeline.source_size[0]} x {timeline.source_size[1]}.",
    ]
    yield label(lines[0], TITLE_SIZE)
    yield label(lines[1])
    legend = draw_legend()
    if found.people:
        listed = [
            f"{person.number}: from {person.first_second:.2f} s; at"
            f" {found.seconds(person.frame):.2f} s in"
            f" {', '.join(f'{side:.0f}' for side in person.box)}"
            for person in found.people[:MOST_PEOPLE]
        ]
        more = len(found.people) - MOST_PEOPLE
        listed += [f"and {more} others"] if more > 0 else []
        text = label("People (x0, y0, x1, y1):\n" + "\n".join(listed), FAULT_SIZE)
        legend = np.concatenate([legend, _heightened(text, legend.shape[0])], axis=1)
    yield legend
    rate, shots = float(timeline.frame_rate), timeline.shots
    size = (GUTTER, WIDTH)
    yield draw_strip(found.states, count, rate, shots, found.segments, size, frames).picture


def _times(found: Findings, frames: Sequence[int], part: slice, width: int) -> np.ndarray:
    """Return the line above a band of columns: the time of each, and what is wrong there."""
    headers = []
    for number in frames[part]:
        lines = [f"{found.seconds(number):.2f} s"]
        lines += [f"frame {number}", *named_faults(number, found.faults)[:2]]
        headers.append(lines)
    height = 26 + 17 * (max(len(lines) for lines in headers) - 1) + GAP
    band = np.full((height + GAP, GUTTER + len(headers) * width, 3), PAPER, np.uint8)
    band[: GAP // 2] = FAINT
    for place, (time, frame, *faults) in enumerate(headers):
        x = GUTTER + place * width + GAP
        write(band, (x, GAP), time, TIME_SIZE)
        write(band, (x, GAP + 24), frame, FAULT_SIZE)
        for line, fault in enumerate(faults):
            write(band, (x, GAP + 24 + 17 * (line + 1)), fault, FAULT_SIZE, ALARM)
    return band


def _row(name: str, tiles: Sequence[np.ndarray], width: int) -> np.ndarray:
    height = max(tile.shape[0] for tile in tiles) + 2 * GAP
    row = np.full((height, GUTTER + len(tiles) * width, 3), PAPER, np.uint8)
    write(row, (GAP, GAP), name)
    for place, tile in enumerate(tiles):
        x = GUTTER + place * width + GAP
        row[GAP : GAP + tile.shape[0], x : x + tile.shape[1]] = tile
    return row


def _mark_cuts(
    rows: Sequence[np.ndarray], frames: Sequence[int], part: slice, shots: Sequence[int], width: int
) -> None:
    for place, number in enumerate(frames[part], start=part.start):
        before = frames[place - 1] if place else number
        if bisect_right(shots, before) != bisect_right(shots, number):
            x = GUTTER + (place - part.start) * width
            for row in rows:
                row[:, x : x + GAP] = CUT


def _widened(part: np.ndarray) -> np.ndarray:
    sheet = np.full((part.shape[0], WIDTH, 3), PAPER, np.uint8)
    sheet[:, : part.shape[1]] = part[:, :WIDTH]
    return sheet


def _heightened(part: np.ndarray, height: int) -> np.ndarray:
    taller = np.full((height, part.shape[1], 3), PAPER, np.uint8)
    taller[: part.shape[0]] = part[:height]
    return taller
