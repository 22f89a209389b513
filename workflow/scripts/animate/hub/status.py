"""The table of what each model has on disk."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from animate.errors import ClipError
from animate.hub.declaration import Part
from animate.hub.digest import VerifiedFiles
from animate.hub.install import Installation
from animate.hub.progress import size_text
from animate.hub.source import SourceFile
from animate.weights.prepared import COPY, valid_copy

COLUMNS = ("model", "part", "needed", "size", "present", "verified", "path")


def status_rows(installation: Installation, needed: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Yield one row of texts per part, and one for a copy of the transformer that was prepared.

    Nothing is read but the files' metadata.
    """
    verified = VerifiedFiles(installation.folder)
    for part in installation.parts:
        own, absence = _files_or_absence(installation, part)
        present = [file for file in own if file.path.is_file()]
        yield (
            installation.model.name,
            part.name,
            "yes" if part.name in needed else "no",
            absence or size_text(sum(file.size for file in own)),
            _share(present, own),
            _share([file for file in present if file.path in verified], own),
            str(_common_folder(own)) if own else "-",
        )
    copy = installation.folder / COPY
    if copy.is_dir():
        present = "yes" if valid_copy(installation.folder) else "out of date"
        size = sum(path.stat().st_size for path in copy.iterdir())
        yield installation.model.name, "bf16 copy", "-", size_text(size), present, "-", str(copy)


def table_text(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows under the column names, aligned."""
    table = [COLUMNS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
    return "\n".join(lines)


def _files_or_absence(installation: Installation, part: Part) -> tuple[list[SourceFile], str]:
    """Return a part's files; when it has none, no files and a word for why."""
    try:
        own = replace(installation, parts=(part,)).files()
    except ClipError:
        return [], "missing"
    return own, "" if own else "not pinned"


def _share(some: list[SourceFile], every: list[SourceFile]) -> str:
    if not every:
        return "-"
    return "yes" if len(some) == len(every) else f"{len(some)} of {len(every)} files"


def _common_folder(files: list[SourceFile]) -> Path:
    file = files[0]
    return file.path.parents[len(Path(file.name).parts) - 1]
