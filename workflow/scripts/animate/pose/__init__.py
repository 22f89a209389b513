"""The person of a clip: found in each frame, followed, retargeted, and drawn for the model."""
