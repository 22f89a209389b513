"""What jobs ask of a cluster: amounts, GPUs, and the resources that state them."""
