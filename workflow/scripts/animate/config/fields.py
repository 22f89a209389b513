"""How a setting is declared, once: its type, bounds, default, meaning and what is allowed."""

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

WORDS = {list: "a list", dict: "a mapping", bool: "true or false", Path: "a path"}
AREA_LIMITS = 64 * 64, 4096 * 4096


class Declared(BaseModel):
    """Values that were checked: no key is unknown, and no type is guessed but that of a cell."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Return the values that were stated, without the defaults."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def setting(
    default: Any,
    meaning: str,
    allowed: str | None = None,
    used_with: dict[str, Any] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a setting.

    Args:
        default: its value where nobody states one.
        meaning: what it does, for the documentation.
        allowed: which values are, in words; by default it follows from the type and the bounds.
        used_with: the values that other settings, or the mode, must have for this one to be read.
        bounds: of `pydantic.Field`.
    """
    extra = {"allowed": allowed, "used_with": used_with}
    extra = {key: value for key, value in extra.items() if value is not None}
    return Field(default, description=meaning, json_schema_extra=extra or None, **bounds)


def extra_of(field: FieldInfo, key: str) -> Any:
    """Return what a declaration says in `allowed` or `used_with`, None where it says nothing."""
    return (field.json_schema_extra or {}).get(key)


def allowed_values(field: FieldInfo) -> str:
    """Return in words which values a setting takes."""
    return extra_of(field, "allowed") or _words(field.annotation, field.metadata)


def _words(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *own = get_args(annotation)
        return _words(annotation, [*metadata, *own])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return ", or ".join(_words(kind, metadata) for kind in kinds)
    if get_origin(annotation) is Literal:
        *others, last = map(str, get_args(annotation))
        return f"{', '.join(others)} or {last}" if others else last
    if words := WORDS.get(get_origin(annotation) or annotation):
        return words + (", not empty" if any(isinstance(m, MinLen) for m in metadata) else "")
    if annotation in (int, float):
        number = "a whole number" if annotation is int else "a number"
        return f"{number} {_range(metadata)}".strip()
    return "any text"


def _range(metadata: list[Any]) -> str:
    limits = {type(limit): limit for limit in metadata if isinstance(limit, Ge | Gt | Le | Lt)}
    least, above, most = limits.get(Ge), limits.get(Gt), limits.get(Le)
    if least and most:
        return f"from {least.ge} to {most.le}"
    if least:
        return f"of at least {least.ge}"
    if above and most:
        return f"above {above.gt}, at most {most.le}"
    return f"above {above.gt}" if above else ""


def checked(check: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that refuses the values for which `check` is false or raises."""

    def validate(value: Any) -> Any:
        try:
            good = check(value)
        except (ValueError, ArithmeticError, AttributeError):
            good = False
        if not good:
            raise ValueError("not allowed")
        return value

    return AfterValidator(validate)


def is_falling_schedule(timesteps: tuple[float, ...]) -> bool:
    """Whether timesteps fall, from at most 1000, and stay above 0; there may be none."""
    falling = all(later < earlier for earlier, later in pairwise((*timesteps, 0)))
    return falling and timesteps[:1] <= (1000,)


def parse_area(text: str) -> int:
    """Return the pixels of an area written as WIDTHxHEIGHT."""
    width, height = (int(side) for side in re.fullmatch(r"(\d+)x(\d+)", text).groups())
    return width * height


def frame_rate(fps: str, source: Fraction | int) -> Fraction:
    """Return the frames per second that the setting `fps` means for a source of that rate."""
    return Fraction(source if fps == "source" else fps)


def _seconds(value: Any) -> Any:
    """Return the seconds of a text such as 90, 1:30 or 1:02:03.5; other values as they are.

    Raises ValueError for a truth value, which would count as 0 or 1.
    """
    if isinstance(value, bool):
        raise ValueError("not a time")
    if not isinstance(value, str) or not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", value):
        return value
    parts = [float(part) for part in value.split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def _number_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.12g}" if is_number else value


def _listed(value: Any) -> Any:
    """Return the list in a table's cell, which is text; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _on_or_off(value: Any) -> Any:
    # YAML reads on and off as true and false.
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


Seconds = Annotated[float, BeforeValidator(_seconds)]
FrameRate = Annotated[
    str, BeforeValidator(_number_text), checked(lambda v: 1 <= frame_rate(v, 30) <= 120)
]
NumberText = Annotated[str, BeforeValidator(_number_text)]
Area = Annotated[str, checked(lambda v: AREA_LIMITS[0] <= parse_area(v) <= AREA_LIMITS[1])]
FourNPlusOne = Annotated[int, checked(lambda v: v % 4 == 1)]
GpuType = Annotated[str, checked(lambda v: re.fullmatch(r"\w[\w.+-]*", v, re.ASCII))]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)]
ColorMatch = Annotated[
    Annotated[float, Field(ge=0, le=0.5)] | Literal["off", "overlap"], BeforeValidator(_on_or_off)
]
AsList = BeforeValidator(_listed)
