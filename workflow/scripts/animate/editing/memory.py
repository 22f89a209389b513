"""How an editor fits into a GPU: whole, part by part, in 8 bits, or layer by layer."""

from collections.abc import Mapping
from typing import Literal

Placement = Literal["whole", "parts", "fp8", "layers"]

# Beside the weights, for a picture of a megapixel and the one that is edited.
WORKING_BYTES = 4_000_000_000


def plan_placement(
    parts: Mapping[str, int], free: int, in_fp8: Mapping[str, int] | None = None
) -> Placement:
    """Return how to place the parts, by their bytes in bf16, with so many bytes of a GPU free.

    "whole" has all parts on the GPU; "parts" only the one that works, the others in the machine's
    memory; "fp8" also stores those parts in 8 bits whose bytes `in_fp8` tells; "layers" has a few
    layers on the GPU at a time. The first two give the same picture, and so does the last.
    """
    needs: dict[Placement, int] = {"whole": sum(parts.values()), "parts": max(parts.values())}
    if in_fp8:
        needs["fp8"] = max({**parts, **in_fp8}.values())
    fitting = (how for how, needed in needs.items() if needed + WORKING_BYTES <= free)
    return next(fitting, "layers")
