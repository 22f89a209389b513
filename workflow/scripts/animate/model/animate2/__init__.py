"""The forward of Wan-Animate-2, which sees the driving video's own tokens."""
