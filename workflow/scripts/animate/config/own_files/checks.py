"""What can be wrong with a user's own files before any of them is opened."""

import os
from collections.abc import Iterator
from pathlib import Path

from animate.config.mistakes import Mistake
from animate.config.models.declared import GenerationModel
from animate.config.own_files.declared import OF_REPLACEMENT, OwnFiles

JSON = ".json"


def own_file_mistakes(files: OwnFiles, written: dict[str, str]) -> Iterator[Mistake]:
    """Yield the columns whose file is not there, or lies where the workflow writes.

    `written` maps what the workflow calls a folder that it writes to, to the folder.
    """
    for column, path in files.columns.items():
        if column == "keypoints" and Path(path).is_dir():
            if not frame_files(path):
                yield Mistake(column, f"'{path}' has no {JSON} files, one for each frame")
        elif not Path(path).is_file():
            problem = f"no such file: '{path}' (relative paths start at the table's folder)"
            yield Mistake(column, problem)
        for what, folder in written.items():
            if _is_inside(path, folder):
                yield Mistake(
                    column,
                    f"'{path}' lies in the folder of the {what}, where the workflow may overwrite"
                    " it; copy it to a folder of your own",
                )


def ignored_own_files(files: OwnFiles, mode: str, model: GenerationModel) -> Iterator[str]:
    """Yield the columns that a clip does not read, and why."""
    if not model.own_files:
        yield from (
            f"'{column}', which is not read with model {model.name}" for column in files.columns
        )
        return
    for column in OF_REPLACEMENT if mode != "replace" else ():
        if getattr(files, column):
            yield f"'{column}', which is read with mode replace only"


def frame_files(folder: str) -> list[str]:
    """Return the JSON files of a folder, by name; hidden ones are of file managers."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    shown = sorted(name for name in names if name.endswith(JSON) and not name.startswith("."))
    return [f"{folder}/{name}" for name in shown]


def _is_inside(path: str, folder: str) -> bool:
    # A link may lead there.
    return Path(path).resolve().is_relative_to(Path(folder).resolve())
