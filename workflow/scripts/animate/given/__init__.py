"""Files of the user's that stand in for a stage's result, and points to correct."""
