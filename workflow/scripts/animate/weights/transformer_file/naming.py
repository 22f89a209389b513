"""What other programs do to a tensor's original name."""

# What they put before every name.
PREFIXES = ("model.diffusion_model.", "diffusion_model.")


def plain_name(name: str) -> str:
    """Return a tensor's name without the prefix of the program that wrote the file."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name
