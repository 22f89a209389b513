"""Which pictures show the same at another size."""

# Sides are rounded to whole pixels, and by editors to even ones.
TOLERANCE = 0.01


def is_alike(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether pictures of these (width, height) have the same shape, in any size."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= TOLERANCE
