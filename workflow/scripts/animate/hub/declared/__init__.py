"""What models.yaml declares and the lock pins."""
