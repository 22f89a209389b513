"""SHA-256, in hexadecimal, of files and values."""

import hashlib
import json
from pathlib import Path


def file_hash(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return the hash of a file, or of the names and contents of the files in a folder."""
    if not path.is_dir():
        return file_hash(path)
    files = sorted(file for file in path.iterdir() if file.is_file())
    return value_hash({file.name: file_hash(file) for file in files})


def value_hash(value: object) -> str:
    """Return the hash of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
