"""The merging of two sets of keys' results, compiled: it reads and writes each number once."""

import torch

from animate.model.attention import Merge, merged


def compiled_merge() -> Merge:
    """Return `merged`, compiled on first use for any number of tokens."""
    return torch.compile(merged, fullgraph=True, dynamic=True)
