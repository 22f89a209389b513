"""The copy of a model's transformer that was prepared for sampling: where it is, whether it counts.

A repository that stores fp32 costs twice the reading in each job, for numbers that are rounded as
they are read. `animate.weights.prepare` makes a copy in the sampler's types, once, beside the model
in `prepared/bf16`: a transformer's folder with one file more, which says what it was made from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from animate.weights.identity import TRANSFORMER, pinned_hashes
from animate.weights.layout import RECORD

COPY = Path("prepared", "bf16")
COPY_RECORD = "copy.json"


@dataclass(frozen=True)
class Copy:
    """What a copy was made from and how.

    `source` has an identity for each file of the original, `sizes` the bytes of each of its own;
    `lossless` says that it holds the very numbers of the original, in types half as wide.
    """

    source: dict[str, str]
    sizes: dict[str, int]
    lossless: bool

    def write(self, folder: Path) -> None:
        """Write the record into the copy's folder."""
        (folder / COPY_RECORD).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


def transformer_folder(model: Path, exact: bool) -> Path:
    """Return the folder to read a model's transformer from.

    That is its prepared copy, when it is whole and was made from the present files; with `exact`,
    only when it is lossless, too.
    """
    copy = valid_copy(model)
    usable = copy is not None and (copy.lossless or not exact)
    return model / COPY if usable else model / TRANSFORMER


def valid_copy(model: Path) -> Copy | None:
    """Return the record of a model's prepared copy, None when it is not whole or out of date."""
    folder = model / COPY
    try:
        copy = Copy(**json.loads((folder / COPY_RECORD).read_text("utf-8")))
        whole = all((folder / name).stat().st_size == size for name, size in copy.sizes.items())
    except (OSError, ValueError, TypeError):
        return None
    return copy if whole and copy.source == source_identity(model) else None


def source_identity(model: Path) -> dict[str, str]:
    """Return what tells a transformer's files from others: a pinned SHA-256, or size and time."""
    pinned = pinned_hashes(model / RECORD)
    files = sorted(path for path in (model / TRANSFORMER).glob("*") if path.is_file())
    names = {str(path.relative_to(model)): path.stat() for path in files}
    return {
        name: pinned.get(name) or f"{status.st_size} bytes of {status.st_mtime_ns}"
        for name, status in names.items()
    }
