"""The configuration, the table of clips, and what they say of one clip."""
