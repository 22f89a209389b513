"""One clip on any number of GPUs: sequence, weights, VAE, devices and fast arithmetic."""
