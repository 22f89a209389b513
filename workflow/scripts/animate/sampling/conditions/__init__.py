"""What each model samples a segment from."""
