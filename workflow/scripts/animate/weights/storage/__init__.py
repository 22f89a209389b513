"""Stored tensors: which there are, and how they are read."""
