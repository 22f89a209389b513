"""The demo's clips, its trained model, and a tiny model with random weights."""
