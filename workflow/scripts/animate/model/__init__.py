"""The models: their forwards, weights, namings and encoders."""
