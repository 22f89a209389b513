"""The demo's clips, and a tiny model with random weights."""
