"""What is kept of a clip while it is sampled, so that a killed run goes on."""
