"""LoRA files of every common naming."""
