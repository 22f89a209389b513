"""Everybody in sight, as numbered by the search for keypoints."""

import json
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Person:
    """A numbered person: seen first at `first_second` of the clip, and at `frame` in `box`.

    `box` is x0, y0, x1, y1 in pixels of the clip's model-size frames.
    """

    number: int
    first_second: float
    frame: int
    box: tuple[float, float, float, float]


def read_people(path: Path | None) -> list[Person]:
    """Return the people of a `people.json`; nobody where there is none."""
    if path is None or not path.is_file():
        return []
    people = json.loads(Path(path).read_text("utf-8"))["people"]
    names = [field.name for field in fields(Person)]
    return [Person(*(person[name] for name in names)) for person in people]
