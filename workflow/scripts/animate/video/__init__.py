"""Videos and pictures: people's, read upright, and the clip's own, written and read back."""
