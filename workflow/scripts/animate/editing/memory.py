"""How an editor fits into a GPU: whole, part by part, in 8 bits, or layer by layer."""

from collections.abc import Mapping
from typing import Literal

Placement = Literal["whole", "parts", "fp8", "layers"]

# Beside the weights, for a picture of a megapixel and the one that is edited.
WORKING_BYTES = 4_000_000_000


def plan_placement(parts: Mapping[str, int], free: int) -> Placement:
    """Return how to place the parts, by their bytes in bf16, with so many bytes of a GPU free.

    "whole" has all parts on the GPU; "parts" only the one that works, the others in the machine's
    memory; "fp8" also stores the weights of the largest part in half the bytes; "layers" has a few
    layers on the GPU at a time. The first two give the same picture, and so does the last.
    """
    largest, *others = sorted(parts.values(), reverse=True)
    needs: dict[Placement, int] = {
        "whole": largest + sum(others),
        "parts": largest,
        "fp8": max([largest // 2, *others]),
    }
    fitting = (how for how, needed in needs.items() if needed + WORKING_BYTES <= free)
    return next(fitting, "layers")
