"""One clip on any number of GPUs: tokens, weights and the VAE spread over them."""
