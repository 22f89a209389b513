"""Ranks that stay alive after a clip and take the next one of the same run."""
