"""The sampling of a clip: its segments, their conditions, the solvers and the loop."""
