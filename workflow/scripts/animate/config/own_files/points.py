"""The user's points and boxes of a clip's mask, as their JSON file states them."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, model_validator

from animate.config.fields import Declared, checked, setting
from animate.config.mistakes import Mistake, mistakes_of

Point = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
Points = tuple[Point, ...]
Box = Annotated[
    tuple[float, float, float, float],
    checked(lambda box: 0 <= box[0] < box[2] and 0 <= box[1] < box[3]),
]
POINTS = "a list of points [x, y] in pixels, 0 or more, such as [[320, 180]]"


class Marks(Declared):
    """What is marked at one second of the clip, in pixels of the model's frames."""

    model_config = ConfigDict(
        json_schema_extra={"allowed": "second, and at least one of positive, negative and box"}
    )

    second: float = setting(..., "Second of the clip", "a second of the clip, 0 or more", ge=0)
    positive: Points = setting((), "Points that belong to it", POINTS)
    negative: Points = setting((), "Points that do not", POINTS)
    box: Box | None = setting(
        None, "Box around it", "[left, top, right, bottom] in pixels, such as [10, 20, 300, 400]"
    )

    @model_validator(mode="after")
    def _says_something(self) -> "Marks":
        if not (self.positive or self.negative or self.box):
            raise ValueError("not allowed")
        return self


class ExcludedMarks(Marks):
    """What is marked of an object that stays out of the mask."""

    name: str = setting(..., "Name of the object; it may have several marks", min_length=1)


class MaskPoints(Declared):
    """All marks of a clip."""

    model_config = ConfigDict(
        json_schema_extra={"allowed": "a mapping with person, exclude or both, not empty"}
    )

    person: tuple[Marks, ...] = setting((), "Marks of the person", "a list of marks")
    exclude: tuple[ExcludedMarks, ...] = setting(
        (), "Marks of objects that stay out of the mask", "a list of marks with a name"
    )

    @model_validator(mode="after")
    def _says_something(self) -> "MaskPoints":
        if not (self.person or self.exclude):
            raise ValueError("not allowed")
        return self


def read_points(path: Path) -> MaskPoints | list[Mistake]:
    """Return what a points file states, or every mistake of it, by its entry."""
    try:
        text = path.read_text("utf-8-sig")
        json.loads(text)
    except (ValueError, OSError) as error:
        return [Mistake("", f"cannot be read as JSON ({error})")]
    try:
        return MaskPoints.model_validate_json(text)
    except ValidationError as error:
        return mistakes_of(error, MaskPoints)


def excluded_objects(path: str, backend: str) -> tuple[tuple[str, ...], list[Mistake]]:
    """Return the names of the objects that a points file excludes, and the column's mistakes."""
    if backend != "sam2":
        problem = (
            f"mask_backend {backend} cannot use points and boxes; set mask_backend to sam2, or"
            " leave points empty"
        )
        return (), [Mistake("points", problem)]
    marks = read_points(Path(path))
    if isinstance(marks, MaskPoints):
        return tuple(sorted({mark.name for mark in marks.exclude})), []
    return (), [Mistake("points", f"file '{path}', {mistake}") for mistake in marks]
