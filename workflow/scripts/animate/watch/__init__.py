"""What a run does while it runs, locally and on a cluster, and why clips of it failed."""
