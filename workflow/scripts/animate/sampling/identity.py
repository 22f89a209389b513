"""What a sampled clip is made from, as one hash: settings, inputs, weights, and the arithmetic."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from animate.model.folder import RECORD
from animate.model.lora import adapter_config
from animate.model.lora_choice import LoraFile
from animate.sampling.settings import Job

# Raise it whenever a change makes other frames of the same inputs: clips under way then start
# afresh. A test holds it against recorded frames.
SAMPLER_VERSION = 1
CHUNK = 1 << 20
WHOLE_FILE_LIMIT = 64 * CHUNK
PARTS = ("transformer", "vae", "image_encoder")


def job_key(job: Job, loras: Iterable[LoraFile]) -> str:
    """Return the hash of all that a job's frames are made from, and of nothing else.

    `loras` are the files that are merged, the relighting LoRA included. Input and LoRA files count
    by content, the model by its pinned hashes or the `file_identity` of its files. GPU, number of
    ranks and versions of packages stay out: a clip may go on elsewhere, and its record says so.
    """
    settings = asdict(job.settings)
    for resolved in ("loras", "relighting_lora"):
        del settings[resolved]
    return hash_of(
        {
            "version": SAMPLER_VERSION,
            "settings": settings,
            "loras": [(_lora_digests(lora.path), lora.weight) for lora in loras],
            "inputs": {role: file_digest(path) for role, path in job.inputs.items()},
            "model": model_identity(job.model),
        }
    )


def model_identity(folder: Path) -> dict[str, str]:
    """Return the identity of each file that a sampler loads of a model folder, by its name."""
    pinned = _pinned_digests(folder / RECORD)
    names = {str(path.relative_to(folder)): path for path in model_files(folder)}
    return {name: pinned.get(name) or file_identity(path) for name, path in names.items()}


def model_files(folder: Path) -> list[Path]:
    """Return the weights and configurations that a sampler loads of a model folder."""
    patterns = ("config.json", "*.safetensors", "*.safetensors.index.json")
    return sorted(
        path
        for part in PARTS
        for pattern in patterns
        for path in (folder / part).glob(pattern)
        if path.is_file()
    )


def _pinned_digests(record: Path) -> dict[str, str | None]:
    """Return the verified SHA-256 of downloaded files: fetched again, they are the same."""
    parts = json.loads(record.read_text("utf-8")).values() if record.is_file() else ()
    return {name: digest for part in parts for name, digest in part["files"].items()}


def _lora_digests(path: Path) -> list[str]:
    files = (path, adapter_config(path))
    return [_pinned_digest(file) or file_digest(file) for file in files if file.is_file()]


def _pinned_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file that was downloaded into a model's folder."""
    for folder in path.parents:
        if (folder / RECORD).is_file():
            return _pinned_digests(folder / RECORD).get(str(path.relative_to(folder)))
    return None


def file_identity(path: Path) -> str:
    """Return the digest of a small file's content; of a large one's size, time and first MiB.

    A large file's weights would take as long to hash as to load.
    """
    status = path.stat()
    if status.st_size <= WHOLE_FILE_LIMIT:
        return file_digest(path)
    digest = hashlib.sha256(f"{status.st_size} bytes of {status.st_mtime_ns}:".encode())
    with path.open("rb") as file:
        digest.update(file.read(CHUNK))
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: object) -> str:
    """Return the SHA-256 of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
