"""Pictures by which a person judges the preprocessing of a clip: a sheet, and a video."""
