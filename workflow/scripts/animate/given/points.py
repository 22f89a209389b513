"""The points that a user gives for a clip, and those of a clip as OpenPose JSON to correct."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from animate.errors import ClipError
from animate.given.frame_files import read_frames
from animate.given.openpose import OpenPoseFrame, frame_of, person_values
from animate.given.shape import is_alike
from animate.pose.keypoints import EMPTY, Keypoints, Parts, stack
from animate.video.letterbox import Letterbox
from animate.video.timeline import Timeline

# More points beyond the frame mean that they are of another frame.
MOST_OUTSIDE = 0.1


def given_keypoints(path: Path, timeline: Timeline) -> Keypoints:
    """Return the points of column `keypoints`: an npz of this workflow's, or OpenPose JSON.

    They are taken as they are: nothing is left out or bridged. Raises ClipError for another number
    of frames than the clip's, and for what is neither.
    """
    keypoints = _of_npz(path) if path.suffix == ".npz" else _of_openpose(path, timeline)
    if len(keypoints) != timeline.frame_count:
        raise ClipError(
            f"keypoints {path} has points of {len(keypoints)} frames, but the clip has"
            f" {timeline.frame_count} frames at {float(timeline.frame_rate):.6g} per second; give"
            " points of each of the clip's frames, or set fps to the rate that yours have"
        )
    if not keypoints.shown.any():
        raise ClipError(f"keypoints {path} shows no person in any frame; give points that score")
    return keypoints


def openpose_frames(keypoints: Keypoints, timeline: Timeline) -> Iterator[dict[str, Any]]:
    """Yield each frame as OpenPose JSON has it, in pixels of frames of `timeline.model_size`.

    `given_keypoints` makes the same points of them.
    """
    width, height = timeline.model_size
    place = Letterbox(timeline.source_size, timeline.model_size)
    parts = (keypoints.body, keypoints.left_hand, keypoints.right_hand, keypoints.face)
    for number, person in enumerate(zip(*map(place.points, parts), strict=True)):
        shown, bridged = keypoints.shown[number], bool(keypoints.bridged[number])
        yield {
            "version": 1.3,
            "canvas_width": width,
            "canvas_height": height,
            "people": [person_values(person) | {"bridged": bridged}] if shown else [],
            "people_in_sight": int(keypoints.people[number]),
            "doubted": bool(keypoints.doubted[number]),
        }


def _of_npz(path: Path) -> Keypoints:
    try:
        keypoints = Keypoints.load(path)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ClipError(
            f"keypoints {path} is no keypoints.npz of this workflow ({error}); give one, or"
            " OpenPose JSON"
        ) from error
    count = max(keypoints.found.size, 1)
    model = stack([None] * count, [0] * count)
    for name, wanted in vars(model).items():
        values = getattr(keypoints, name)
        numbers = values.dtype.kind in "biuf" and np.isfinite(values).all()
        if values.shape != wanted.shape or not numbers:
            raise ClipError(
                f"keypoints {path}: '{name}' must be finite numbers of shape {wanted.shape}, and is"
                f" {values.dtype} of shape {values.shape}; correct it"
            )
    cast = {name: getattr(keypoints, name).astype(w.dtype) for name, w in vars(model).items()}
    return Keypoints(**cast)


def _of_openpose(path: Path, timeline: Timeline) -> Keypoints:
    frames = []
    for file, values in read_frames(path):
        try:
            frames.append(frame_of(values))
        except (ValueError, TypeError, AttributeError) as error:
            raise ClipError(
                f"keypoints {path}: frame {len(frames)} ({file.name}) is no OpenPose JSON of one"
                f" person: {error}; correct it, or export it again"
            ) from error
        _check_canvas(path, file, frames[-1].canvas, timeline)
    # Some programs write shares of the frame.
    shares = max((frame.farthest for frame in frames), default=0) <= 1
    persons = [_placed(frame, timeline, shares) for frame in frames]
    bodies = np.array([EMPTY[0] if person is None else person[0] for person in persons])
    seen = bodies[bodies[..., 2] > 0][:, :2]
    outside = ((seen < 0) | (seen > 1)).any(axis=1)
    if len(seen) and outside.mean() > MOST_OUTSIDE:
        raise ClipError(
            f"keypoints {path}: {outside.mean():.0%} of the body's points lie outside the frame;"
            " state in each file to which size they belong, as canvas_width and canvas_height, or"
            " score them 0"
        )
    keypoints = stack(persons, [frame.people for frame in frames])
    bridged, doubted = (
        np.array([getattr(frame, name) for frame in frames], bool)
        for name in ("bridged", "doubted")
    )
    return replace(keypoints, found=keypoints.found & ~bridged, bridged=bridged, doubted=doubted)


def _check_canvas(
    path: Path, file: Path, canvas: tuple[int, int] | None, timeline: Timeline
) -> None:
    shapes = (timeline.model_size, timeline.source_size)
    if canvas and not any(is_alike(canvas, shape) for shape in shapes):
        shown = " or ".join("{}x{}".format(*shape) for shape in dict.fromkeys(shapes))
        raise ClipError(
            f"keypoints {path}: {file.name} has a canvas of {'{}x{}'.format(*canvas)}, another"
            f" shape than {shown}; give points in a frame of that shape, of any size"
        )


def _placed(frame: OpenPoseFrame, timeline: Timeline, shares: bool) -> Parts | None:
    """Return the points as shares of the upright source frame, which the canvas shows whole."""
    if frame.parts is None:
        return None
    canvas = frame.canvas or timeline.source_size
    place = Letterbox(timeline.source_size, canvas)
    unit = (*(canvas if shares else (1, 1)), 1)
    placed = (place.shares(part * unit) for part in frame.parts)
    return tuple(np.where(part[:, 2:] > 0, part, 0) for part in placed)
