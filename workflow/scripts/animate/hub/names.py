"""File names from the hub: which may be trusted, and which a pattern selects."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from animate.errors import ClipError


def hub_name(repository: str) -> str:
    """Return the name on the hub of a declared repository, OWNER/NAME or OWNER/NAME@REVISION."""
    return repository.partition("@")[0]


def checked_name(repository: str, name: str) -> str:
    """Return a file's name, or raise a `ClipError` when it could leave the model's folder."""
    parts = PurePosixPath(name).parts
    unsafe = not parts or name.startswith("/") or ".." in parts or "\\" in name
    if unsafe or not name.isprintable():
        raise ClipError(
            f"repository {repository} offers the file {name!r}, whose name leaves the model's"
            " folder: nothing was fetched; choose another revision or repository"
        )
    return name


def matches(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match any of the patterns; `*` stands for folders too."""
    patterns = list(patterns)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def chosen(names: Iterable[str], choices: Iterable[str]) -> list[str]:
    """Return the names that match the first of these patterns that has a match."""
    names = list(names)
    return next((found for pattern in choices if (found := matches(names, [pattern]))), [])


def select(repository: str, names: Iterable[str], entries: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the names that the entries of a part's `files` choose.

    Raises:
        ClipError: no name matches an entry.
    """
    names = list(names)
    selected: set[str] = set()
    for choices in entries:
        matching = chosen(names, choices)
        if not matching:
            shown = " or ".join(f"'{pattern}'" for pattern in choices)
            raise ClipError(
                f"repository {repository} has no file {shown}: correct `files`, `revision` or"
                " `path` in config/models.yaml, or `loras` of the clip"
            )
        selected.update(matching)
    return sorted(selected)
