"""Models from the Hugging Face hub: declared, pinned, fetched, verified and linked into place."""
