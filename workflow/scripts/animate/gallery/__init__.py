"""The gallery: a page on all clips, and one for each, beside the files that they show."""
