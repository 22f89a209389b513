"""What a declaration refuses, in sentences: the place, what stands there, and what is allowed."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from animate.config.fields import allowed_values

# How pydantic marks a name of a mapping that it refuses.
NAME = "[key]"


@dataclass(frozen=True)
class Mistake:
    """One refused value: `key` is its place inside the checked object ("" for the object)."""

    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}" if self.key else self.problem


def find_mistakes(model: type[BaseModel], values: Any) -> list[Mistake]:
    """Return every mistake of values against a declaration, one for each place."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return mistakes_of(error, model)
    return []


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Return the mistakes that pydantic found, one for each place."""
    found: dict[str, Mistake] = {}
    for detail in error.errors():
        mistake = _mistake(detail, model)
        found.setdefault(mistake.key, mistake)
    return list(found.values())


def nearest_name(name: str, known: list[str]) -> str:
    """Return "did you mean 'x'?" for the most similar known name, or the list of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"


def _mistake(detail: Any, model: type[BaseModel]) -> Mistake:
    place, owner, field = _declared(detail["loc"], model)
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
    if detail["type"] == "extra_forbidden":
        return Mistake(key, f"unknown; {nearest_name(str(place[-1]), list(owner.model_fields))}")
    if detail["type"] == "missing":
        return Mistake(key, "missing")
    if field:
        allowed = allowed_values(field)
    else:
        allowed = (owner.model_config.get("json_schema_extra") or {}).get("allowed", "a mapping")
    return Mistake(key, f"'{detail['input']}' is not allowed; allowed: {allowed}")


def _declared(
    location: tuple[int | str, ...], model: type[BaseModel]
) -> tuple[list[int | str], type[BaseModel], FieldInfo | None]:
    """Return a mistake's place, the model that has it, and its field; None for a whole model.

    Behind a field that is no model, pydantic names the alternatives of its type that it tried.
    """
    place: list[int | str] = []
    owner, field = model, None
    parts = iter(location)
    for part in parts:
        place.append(part)
        holder = owner.model_fields.get(str(part))
        if holder is None:
            return place, owner, None
        field = holder
        inner = next(_models_in(holder.annotation), None)
        if inner is None:
            return place, owner, field
        if inner is not holder.annotation:
            # A list or a mapping of models: what follows names one of them.
            element = next(parts, None)
            if element is None:
                return place, owner, field
            place.append(element)
            if NAME in location:
                return place, owner, field
        owner, field = inner, None
    return place, owner, field


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
