"""The table of what each model has on disk."""

from collections.abc import Collection, Iterable, Iterator

import pandas as pd

from animate.errors import ClipError
from animate.hub.files import verified_files
from animate.hub.install import Installation
from animate.hub.progress import size_text
from animate.weights.prepared import COPIES, valid_copy

COLUMNS = ("model", "part", "needed", "size", "present", "verified", "path")


def status_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows of `status_rows` under the names of the columns."""
    return pd.DataFrame(rows, columns=COLUMNS).to_string(index=False)


def status_rows(installation: Installation, needed: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield one row of texts per part, and one for each copy of the transformer that was prepared.

    Nothing is read but the files' metadata.
    """
    model, verified = installation.name, verified_files(installation.folder)
    for name in installation.parts:
        try:
            files = list(installation.files(name).values())
            size = size_text(sum(file.size for file in files)) if files else "not pinned"
        except ClipError:
            files, size = [], "missing"
        present = _share([file.path.is_file() for file in files])
        hashed = _share([file.path in verified for file in files])
        folder = str(files[0].root) if files else "-"
        yield model, name, "yes" if name in needed else "no", size, present, hashed, folder
    for precision, place in COPIES.items():
        copy = installation.folder / place
        if copy.is_dir():
            present = "yes" if valid_copy(installation.folder, precision) else "out of date"
            size = size_text(sum(path.stat().st_size for path in copy.iterdir()))
            yield model, f"{precision} copy", "-", size, present, "-", str(copy)


def _share(found: list[bool]) -> str:
    if not found:
        return "-"
    return "yes" if all(found) else f"{sum(found)} of {len(found)} files"
