"""The generation models that a clip may name, each family in a module of its own."""
