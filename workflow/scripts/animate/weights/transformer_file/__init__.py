"""A transformer in one file, as other programs load it: original naming, perhaps in 8 or 4 bits."""
