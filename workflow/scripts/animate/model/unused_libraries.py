"""Libraries that diffusers imports where it finds them, though no sampler uses them."""

import sys

# They cost a third of the seconds that a sampler needs to start, where a user has them.
UNUSED = ("peft", "scipy", "sklearn")


def spare_imports(*more: str) -> None:
    """Have diffusers and transformers find none of them; call it before either is imported."""
    for name in (*UNUSED, *more):
        # Python's own way to say that a module cannot be imported.
        sys.modules.setdefault(name, None)
