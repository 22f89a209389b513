"""JSON schemas of the configuration and the sentences that explain a refused value."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource

SCHEMA_FOLDER = Path(__file__).parents[3] / "schemas"
AREA_LIMITS = 64 * 64, 4096 * 4096


@dataclass(frozen=True)
class Mistake:
    """One refused value: `key` is its place inside the checked object ("" for the object)."""

    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return `workflow/schemas/{name}.schema.yaml`; the caller must not change it."""
    return yaml.safe_load((SCHEMA_FOLDER / f"{name}.schema.yaml").read_text("utf-8"))


def schema_defaults(name: str) -> dict[str, Any]:
    """Return the default of every property of a schema that states one."""
    properties = load_schema(name)["properties"]
    return {key: rule["default"] for key, rule in properties.items() if "default" in rule}


def find_mistakes(schema_name: str, instance: Any) -> Iterator[Mistake]:
    """Yield every mistake of `instance` against the schema, one per place."""
    seen = set()
    for error in _validator(schema_name).iter_errors(instance):
        for mistake in _mistakes_of(error):
            if mistake.key not in seen:
                seen.add(mistake.key)
                yield mistake


def nearest_name(name: str, known: list[str]) -> str:
    """Return "; did you mean 'x'?" for the most similar known name, or the list of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"


def parse_area(text: str) -> int:
    """Return the pixels of an area written as WIDTHxHEIGHT; ValueError when out of bounds."""
    width, height = (int(side) for side in re.fullmatch(r"(\d+)x(\d+)", text).groups())
    if not AREA_LIMITS[0] <= width * height <= AREA_LIMITS[1]:
        raise ValueError(text)
    return width * height


@cache
def _validator(name: str) -> Draft202012Validator:
    settings = Resource.from_contents(load_schema("settings"))
    registry = Registry().with_resource("settings.schema.yaml", settings)
    return Draft202012Validator(load_schema(name), registry=registry, format_checker=_formats())


def _formats() -> FormatChecker:
    checker = FormatChecker(formats=())
    checker.checks("four-n-plus-one")(lambda value: not isinstance(value, int) or value % 4 == 1)
    checker.checks("area", raises=(AttributeError, ValueError))(
        lambda value: not isinstance(value, str) or parse_area(value) > 0
    )
    checker.checks("frame-rate", raises=(ValueError, ZeroDivisionError))(
        lambda value: isinstance(value, bool) or value == "source" or 1 <= Fraction(value) <= 120
    )
    return checker


def _mistakes_of(error: ValidationError) -> Iterator[Mistake]:
    place = _place(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in sorted(set(error.instance) - set(known), key=str):
            yield Mistake(f"{place}.{key}".lstrip("."), f"unknown; {nearest_name(str(key), known)}")
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield Mistake(f"{place}.{key}".lstrip("."), "missing")
    else:
        allowed = error.schema.get("allowed") or error.message
        yield Mistake(place, f"'{error.instance}' is not allowed; allowed: {allowed}")


def _place(path) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).lstrip(".")
