"""SHA-256, in hexadecimal, of files and values."""

import hashlib
import json
from pathlib import Path


def file_hash(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def value_hash(value: object) -> str:
    """Return the hash of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
