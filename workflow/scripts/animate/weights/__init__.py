"""Weights as files: their layouts, names, LoRAs and copies, and how they are read."""
