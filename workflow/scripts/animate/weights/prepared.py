"""The copies of a model's transformer that were prepared for sampling: where, and if they count.

A repository that stores fp32 costs twice the reading in each job, for numbers that are rounded as
they are read. `animate.weights.prepare` makes a copy, once for each precision that clips ask for,
beside the model in `prepared/bf16` or `prepared/fp8`: a transformer's folder with one file more,
which says what it was made from. In that of fp8, the layers that are computed so are stored so,
with their factors; it is read by clips that merge no LoRA, since merging comes before rounding.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animate.weights.identity import TRANSFORMER, pinned_hashes
from animate.weights.layout import RECORD, relighting_lora

BF16, FP8 = "bf16", "fp8"
PREPARED = "prepared"
COPIES = {precision: Path(PREPARED, precision) for precision in (BF16, FP8)}
COPY_RECORD = "copy.json"
# Of what is in a copy; one of another version is made again.
VERSIONS = {BF16: 1, FP8: 1}


@dataclass(frozen=True)
class Copy:
    """What a copy was made from and how.

    `source` has an identity for each file of the original, `sizes` the bytes of each of its own;
    `lossless` says that it holds the very numbers of the original, in types half as wide.
    """

    source: dict[str, str]
    sizes: dict[str, int]
    lossless: bool
    version: int = 1

    def write(self, folder: Path) -> None:
        """Write the record into the copy's folder."""
        (folder / COPY_RECORD).write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")


def transformer_folder(model: Path, rounded: str | None) -> Path:
    """Return the folder to read a model's transformer from.

    `rounded` is the precision that the numbers are rounded to with nothing done to them before; its
    copy is taken when it is whole and was made from the present files. With None the numbers
    themselves are needed: the original's, or those of a copy in bf16 that is lossless.
    """
    if rounded and valid_copy(model, rounded):
        return model / COPIES[rounded]
    copy = valid_copy(model, BF16)
    return model / COPIES[BF16] if copy and copy.lossless else model / TRANSFORMER


def rounded_alone(model: Path, mode: str, settings: Mapping[str, Any]) -> str | None:
    """Return the precision that a job only rounds weights to; None where LoRAs are merged before.

    `settings` are the sampler's, as its settings file has them.
    """
    relit = settings.get("relighting_lora", "auto")
    relit = mode == "replace" if relit == "auto" else relit
    merged = settings.get("loras") or (relit and relighting_lora(model))
    return None if merged else settings.get("precision", BF16)


def valid_copy(model: Path, precision: str) -> Copy | None:
    """Return the record of a prepared copy, None when it is not whole or out of date."""
    folder = model / COPIES[precision]
    try:
        copy = Copy(**json.loads((folder / COPY_RECORD).read_text("utf-8")))
        whole = all((folder / name).stat().st_size == size for name, size in copy.sizes.items())
    except (OSError, ValueError, TypeError):
        return None
    current = copy.version == VERSIONS[precision] and copy.source == source_identity(model)
    return copy if whole and current else None


def source_identity(model: Path) -> dict[str, str]:
    """Return what tells a transformer's files from others: a pinned SHA-256, or size and time."""
    pinned = pinned_hashes(model / RECORD)
    files = sorted(path for path in (model / TRANSFORMER).glob("*") if path.is_file())
    names = {str(path.relative_to(model)): path.stat() for path in files}
    return {
        name: pinned.get(name) or f"{status.st_size} bytes of {status.st_mtime_ns}"
        for name, status in names.items()
    }
