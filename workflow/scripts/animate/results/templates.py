"""The pages' templates, and what pages of the report and of the gallery say alike."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from animate.config.settings import ClipSettings

TEMPLATES = Path(__file__).parents[3] / "report"

# Pictures of both people in a standard pose, by the names of their files.
EDITED = {"retarget_reference": "Edited reference", "retarget_driver": "Edited driving frame"}


@dataclass(frozen=True)
class Track:
    """One of the videos that a clip's page plays in step, at the address `source`.

    `place`: what it shows of the model's frame, as the player reads it, "" for all of it.
    """

    title: str
    source: str
    place: str = ""


def place_in_frame(record: dict[str, Any]) -> str:
    """Return the `place` of a result, by its record."""
    found = record.get("sampling", {}).get("frame")
    if not found:
        return ""
    sides = zip(found["part"], found["size"] * 2, strict=True)
    return " ".join(f"{own / outer:.6f}" for own, outer in sides)


def render(template: str, **values: Any) -> str:
    """Return a page; texts are escaped, and a name that the template lacks is an error."""
    return _environment().get_template(template).render(values)


def changed_first(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that differ from the declared defaults, and the others.

    `settings` are JSON values. One that is no longer declared counts as changed.
    """
    defaults = _defaults()
    changed = {
        name: value
        for name, value in settings.items()
        if name not in defaults or value != defaults[name]
    }
    return changed, {name: value for name, value in settings.items() if name not in changed}


@cache
def _defaults() -> dict[str, Any]:
    return ClipSettings().model_dump(mode="json")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
