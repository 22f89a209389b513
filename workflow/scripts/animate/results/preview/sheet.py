"""The sheet: a clip's worst moments side by side, on which a person sees what went wrong."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    """The pictures at some frames of a clip: one for each frame, or none at all.

    `driving` are uint8 RGB upright driving frames; `pose` and `face` what the model sees, uint8
    RGB; `person_mask` and `mask` uint8 0/1. All but driving and face are of the model's size.
    """

    driving: Iterable[np.ndarray]
    pose: Sequence[np.ndarray] = ()
    face: Sequence[np.ndarray] = ()
    person_mask: Sequence[np.ndarray] = ()
    mask: Sequence[np.ndarray] = ()


def moments(found: Findings) -> list[int]:
    """Return the frames that the sheet shows, ascending."""
    timeline = found.timeline
    wanted = list(dict.fromkeys(person.frame for person in found.people))[:MOST_PEOPLE]
    return choose_moments(timeline.frame_count, timeline.shots, found.faults, wanted)


def write_sheet(
    path: Path, clip: str, found: Findings, frames: Sequence[int], shown: Shown
) -> None:
    """Write the sheet of a clip as a PNG.

    It has a title, the legend, the strip over the whole clip, and for each of the `frames` a
    column: its time and its faults, then named rows of pictures. A red line is left of the first
    column of a new shot.
    """
    box = LARGE_TILE if len(frames) <= LARGE_MOMENTS else SMALL_TILE
    timeline = found.timeline
    view = View.within(timeline.source_size, timeline.model_size, box)
    rows = list(_rows(view, found, frames, shown))
    column_width = max(tile.shape[1] for _, tiles in rows for tile in tiles) + 2 * GAP
    column_width = max(column_width, label("00:00.00 s", TIME_SIZE).shape[1] + 2 * GAP)
    across = max((WIDTH - GUTTER) // column_width, 1)
    sheet = [*_head(clip, found, frames)]
    for first in range(0, len(frames), across):
        part = slice(first, first + across)
        sheet.append(_times(found, frames, part, column_width))
        for name, tiles in rows:
            sheet.append(_row(name, tiles[part], column_width))
        _mark_cuts(sheet[-1 - len(rows) :], frames, part, timeline.shots, column_width)
    with atomic_output(path) as temporary:
        Image.fromarray(np.concatenate([_widened(part) for part in sheet])).save(temporary)


def _rows(
    view: View, found: Findings, frames: Sequence[int], shown: Shown
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the rows, each its name and a tile for each frame."""
    plain = [view.picture(frame) for frame in shown.driving]
    driving, over = [], []
    for number, picture in zip(frames, plain, strict=True):
        marked = picture.copy()
        draw_ruler(marked, view)
        if found.face_boxes is not None:
            face_frame(marked, view, found.face_boxes[number])
        people_boxes(marked, view, found.people_at(number))
        driving.append(marked)
    yield "driving video,\npixels of the\nmodel's frame", driving
    for place, (number, picture) in enumerate(zip(frames, plain, strict=True)):
        dimmed = (picture * DIMMED).astype(np.uint8)
        if found.keypoints is not None:
            dimmed = cv2.add(dimmed, skeleton(view, found.keypoints, number, enlarged=2))
        elif shown.pose:
            put_over(dimmed, view.of_model(shown.pose[place], cv2.INTER_AREA))
        over.append(dimmed)
    yield "skeleton as\nit was found" if found.keypoints is not None else "pose over it", over
    if shown.mask or shown.person_mask:
        for place, picture in enumerate(plain):
            if shown.mask:
                grown = view.of_model(shown.mask[place])
                tint(picture, grown)
                outline(picture, grown, REPAINTED)
            if shown.person_mask:
                outline(picture, view.of_model(shown.person_mask[place]), PERSON)
        yield "mask: person,\nand what is\npainted anew", plain
    if shown.pose:
        yield (
            "pose as the\nmodel sees it",
            [_shrunk(cv2.dilate(pose, THICKER), view.size) for pose in shown.pose],
        )
    if shown.face:
        side = (min(view.size),) * 2
        yield "face as the\nmodel sees it", [_shrunk(face, side) for face in shown.face]


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
