"""Prompts that hold from a second of the driving video on, as people write them."""

import re
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from animate.config.fields import Seconds, checked

# A time and a colon with a space behind it; before all but the first stands a semicolon.
TIME = re.compile(r"(?:^|;)\s*((?:\d+:){0,2}\d+(?:\.\d+)?)\s*s?\s*:\s+")

# What may be meant as a time and is none: it would become part of the text before it.
NEARLY = re.compile(r";\s*-?\d[\d:.,]*\s*s?\s*:")

Prompts = tuple[tuple[float, str], ...]


def _timed(value: Any) -> Any:
    """Return pairs of a text such as "0: walks; 4.5: runs" or of a mapping; others as they are."""
    if isinstance(value, str):
        before, *parts = TIME.split(value.strip().rstrip("; "))
        if before or not parts or any(map(NEARLY.search, parts)):
            return value
        return tuple((time, text.strip()) for time, text in zip(*[iter(parts)] * 2, strict=True))
    if isinstance(value, dict):
        return tuple(value.items())
    return value


def _says_something(text: str) -> bool:
    return bool(text.strip())


def _is_rising(prompts: Prompts) -> bool:
    return all(one[0] < other[0] for one, other in pairwise(prompts))


TimedPrompts = Annotated[
    tuple[
        tuple[
            Annotated[Seconds, Field(ge=0, strict=False)],
            Annotated[str, Field(min_length=1, strict=True), checked(_says_something)],
        ],
        ...,
    ],
    BeforeValidator(_timed, json_schema_input_type=dict[str, str] | str),
    Field(strict=False),
    checked(_is_rising),
]


def prompt_at(second: float, prompt: str, prompts: Prompts) -> str:
    """Return which of the prompts holds at a second; before the first of them, `prompt` does."""
    return next((text for since, text in reversed(prompts) if since <= second), prompt)
