"""The people of a clip: one of them through time, all of them numbered, and one chosen."""
