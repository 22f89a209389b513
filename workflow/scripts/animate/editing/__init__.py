"""Pictures of both people in a standard pose, made by a model that edits pictures, to measure."""
