"""Self-attention in 8 bits, for Ada and Hopper: int8 scores, e4m3 probabilities and values."""
