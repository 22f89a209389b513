"""Files of the user's in place of what a stage would make."""
