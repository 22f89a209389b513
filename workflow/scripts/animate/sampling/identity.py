"""What determines a sampled clip, as one hash: settings, inputs, model, code and arithmetic."""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from animate.model.folder import RECORD, relighting_lora
from animate.model.lora import adapter_config
from animate.sampling.settings import Job

CHUNK = 1 << 20
WHOLE_FILE_LIMIT = 64 * CHUNK
PARTS = ("transformer", "vae", "image_encoder")
PACKAGES = ("torch", "diffusers", "transformers")
PACKAGE = Path(__file__).parents[1]
CODE = ("model/*.py", "parallel/*.py", "sampling/*.py", "video.py")


def job_key(job: Job, arithmetic: str) -> str:
    """Return the hash of all that decides a job's frames.

    `arithmetic` names device and number types. Input and LoRA files count by content, the model by
    its pinned hashes or the `file_identity` of its files, the code by its text.
    """
    loras = [(_lora_digests(lora.path), lora.weight) for lora in job.settings.loras]
    return hash_of(
        {
            "mode": job.mode,
            "settings": {**asdict(job.settings), "loras": loras},
            "inputs": {role: file_digest(path) for role, path in job.inputs.items()},
            "model": model_identity(job.model),
            "code": [file_digest(f) for part in CODE for f in sorted(PACKAGE.glob(part))],
            "packages": {name: version(name) for name in PACKAGES},
            "arithmetic": arithmetic,
        }
    )


def model_identity(folder: Path) -> dict[str, str]:
    """Return the identity of each file that a sampler reads of a model folder, by its name."""
    files = [path for part in PARTS for path in (folder / part).glob("*")]
    lora = relighting_lora(folder)
    files += [lora, adapter_config(lora)] if lora else []
    files = sorted(path for path in files if path.is_file())
    pinned = _pinned_digests(folder / RECORD)
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: pinned.get(name) or file_identity(path) for name, path in names.items()}


def _pinned_digests(record: Path) -> dict[str, str | None]:
    """Return the verified SHA-256 of downloaded files: fetched again, they are the same."""
    parts = json.loads(record.read_text("utf-8")).values() if record.is_file() else ()
    return {name: digest for part in parts for name, digest in part["files"].items()}


def _lora_digests(path: Path) -> list[str]:
    files = (path, adapter_config(path))
    return [file_digest(file) for file in files if file.is_file()]


def file_identity(path: Path) -> str:
    """Return the digest of a small file's content; of a large one's size, time and first MiB.

    A large file's weights would take as long to hash as to load.
    """
    status = path.stat()
    if status.st_size <= WHOLE_FILE_LIMIT:
        return file_digest(path)
    with path.open("rb") as file:
        return hash_of([status.st_size, status.st_mtime_ns, file.read(CHUNK).hex()])


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: object) -> str:
    """Return the SHA-256 of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
