"""What a clip costs on a cluster, how its jobs are asked for, and what is left of lost ones."""
