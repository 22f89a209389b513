"""The merging of several sets of keys' results, compiled: it reads and writes each number once."""

import torch

from animate.model.animate2.attention import Merge, merged


def compiled_merge() -> Merge:
    """Return `merged`, compiled on first use for any number of tokens."""
    return torch.compile(merged, fullgraph=True, dynamic=True)
