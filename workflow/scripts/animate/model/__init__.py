"""The models: their forwards and their encoders."""
