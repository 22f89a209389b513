"""The user's points and boxes on the frames of a clip, as SAM 2 takes them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animate.atomic import atomic_output
from animate.config.own_files.points import Marks, MaskPoints
from animate.errors import ClipError
from animate.video.timeline import Timeline


@dataclass(frozen=True)
class Prompt:
    """What says in one frame where an object is, in its pixels: points (n, 2) float32, their labels
    (n,) int32 (1 of the object, 0 not), and a box (4,) x1 y1 x2 y2 or None.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None = None

    @property
    def says_where(self) -> bool:
        """Whether it says where the object is, and not only where it is not."""
        return self.box is not None or bool((self.labels == 1).any())


# An object's prompts by frame.
Prompts = dict[int, Prompt]


@dataclass(frozen=True)
class ClipPoints:
    """What a user marked in a clip: the person, and by name what stays out of the mask."""

    person: Prompts
    excluded: dict[str, Prompts]

    @classmethod
    def load(cls, path: Path) -> "ClipPoints":
        """Read what `save_marks` wrote."""
        marked = json.loads(path.read_text())
        excluded = {name: _prompts(marks) for name, marks in marked["exclude"].items()}
        return cls(_prompts(marked["person"]), excluded)


def save_marks(path: Path, file: Path, marks: MaskPoints, timeline: Timeline) -> None:
    """Write the marks of `file` by frames of the clip.

    Raises ClipError for a second outside the clip, for what lies outside its frames, and for an
    object of which a frame has negative points alone: each frame's marks have to show it anew.
    """
    placed = {"person": [], "exclude": {}}
    for number, mark in enumerate(marks.person):
        placed["person"].append(_placed(mark, f"{file}, person[{number}]", timeline))
    for number, mark in enumerate(marks.exclude):
        entry = _placed(mark, f"{file}, exclude[{number}] ({mark.name})", timeline)
        placed["exclude"].setdefault(mark.name, []).append(entry)
    for name, entries in placed["exclude"].items():
        for frame, prompt in _prompts(entries).items():
            if not prompt.says_where:
                raise ClipError(
                    f"points {file}, exclude ({name}): at {timeline.clock(frame, frame + 1)} only"
                    " negative points are marked, which say where it is not; add a positive point"
                    " or a box at the same second"
                )
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(placed) + "\n")


def _placed(mark: Marks, entry: str, timeline: Timeline) -> dict:
    frame = timeline.frame_at(mark.second)
    if frame is None:
        raise ClipError(
            f"points {entry}: second {mark.second:g} lies outside the clip, which lasts"
            f" {float(timeline.duration):.2f} s; seconds count from the clip's start"
        )
    width, height = timeline.model_size
    box = mark.box or ()
    for x, y in (*mark.positive, *mark.negative, *(box[i : i + 2] for i in range(0, len(box), 2))):
        # A box may end with the frame.
        if x > width or y > height:
            raise ClipError(
                f"points {entry}: {x:g},{y:g} lies outside the clip's frames of {width}x{height}"
                " pixels; give pixels of the preview's frames"
            )
    return {"frame": frame} | mark.model_dump(include={"positive", "negative", "box"})


def _prompts(marks: Iterable[dict]) -> Prompts:
    """Return the prompts of an object; of several boxes in one frame the last one counts."""
    found: Prompts = {}
    for mark in marks:
        found[mark["frame"]] = joined(found.get(mark["frame"]), _prompt(mark))
    return found


def _prompt(mark: dict) -> Prompt:
    points = [*mark["positive"], *mark["negative"]]
    labels = [1] * len(mark["positive"]) + [0] * len(mark["negative"])
    box = None if mark["box"] is None else np.array(mark["box"], np.float32)
    return Prompt(np.reshape(points, (-1, 2)).astype(np.float32), np.array(labels, np.int32), box)


def joined(first: Prompt | None, second: Prompt) -> Prompt:
    """Return what both say of a frame; of two boxes the second counts."""
    if first is None:
        return second
    return Prompt(
        np.concatenate([first.points, second.points]),
        np.concatenate([first.labels, second.labels]),
        first.box if second.box is None else second.box,
    )


def within(prompts: Prompts, first: int, after: int) -> Prompts:
    """Return the prompts of frames `first` to `after` - 1, counted from `first`."""
    return {frame - first: prompts[frame] for frame in sorted(prompts) if first <= frame < after}


def agreeing(points: np.ndarray, prompt: Prompt, distance: float) -> Iterator[np.ndarray]:
    """Yield those of `points` (n, 2) that lie in the box and by no negative point of a prompt."""
    against = prompt.points[prompt.labels == 0]
    for point in points:
        boxed = prompt.box is None or (
            (prompt.box[:2] <= point).all() and (point <= prompt.box[2:]).all()
        )
        if boxed and (np.linalg.norm(against - point, axis=1) >= distance).all():
            yield point
