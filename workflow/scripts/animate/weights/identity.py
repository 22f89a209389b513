"""Which weights a model folder holds, without hashing what takes minutes to read."""

import hashlib
import json
from pathlib import Path

from animate.hashing import file_hash
from animate.weights.layout import RECORD

MIB = 1 << 20
WHOLE_FILE_LIMIT = 64 * MIB
TRANSFORMER = "transformer"
PARTS = (TRANSFORMER, "vae", "image_encoder")
CONFIG = "config.json"
# The setting, and what one file is called among a model's.
TRANSFORMER_FILE = "transformer_file"


def model_identity(folder: Path, transformer_file: Path | None = None) -> dict[str, str]:
    """Return the identity of each file that a sampler loads of a model folder, by its name.

    That of a file in place of the folder's transformer is under `TRANSFORMER_FILE`, whatever the
    file is called.
    """
    pinned = pinned_hashes(folder / RECORD)
    files = model_files(folder, transformer_file is not None)
    names = {str(path.relative_to(folder)): path for path in files}
    found = {name: pinned.get(name) or file_identity(path) for name, path in names.items()}
    if transformer_file:
        found[TRANSFORMER_FILE] = pinned_hash(transformer_file) or file_identity(transformer_file)
    return found


def model_files(folder: Path, other_transformer: bool = False) -> list[Path]:
    """Return the weights and configurations that a sampler loads of a model folder.

    With `other_transformer`, it loads only the configuration of the folder's transformer.
    """
    weights = ("*.safetensors", "*.safetensors.index.json")
    return sorted(
        path
        for part in PARTS
        for pattern in (CONFIG, *(() if other_transformer and part == TRANSFORMER else weights))
        for path in (folder / part).glob(pattern)
        if path.is_file()
    )


def pinned_hashes(record: Path) -> dict[str, str | None]:
    """Return the verified SHA-256 of downloaded files: fetched again, they are the same."""
    parts = json.loads(record.read_text("utf-8")).values() if record.is_file() else ()
    return {name: digest for part in parts for name, digest in part["files"].items()}


def pinned_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file that was downloaded into a model's folder."""
    for folder in path.parents:
        if (folder / RECORD).is_file():
            return pinned_hashes(folder / RECORD).get(str(path.relative_to(folder)))
    return None


def file_identity(path: Path) -> str:
    """Return the digest of a small file's content; of a large one's size, time and first MiB.

    A large file's weights would take as long to hash as to load.
    """
    status = path.stat()
    if status.st_size <= WHOLE_FILE_LIMIT:
        return file_hash(path)
    digest = hashlib.sha256(f"{status.st_size} bytes of {status.st_mtime_ns}:".encode())
    with path.open("rb") as file:
        digest.update(file.read(MIB))
    return digest.hexdigest()
