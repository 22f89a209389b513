"""A folder of JSON files, one for each frame, that people may edit."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from animate.atomic import process_label
from animate.config.own_files.checks import frame_files
from animate.errors import ClipError
from animate.hashing import file_hash

# Which files were written, with their hashes: others are the user's.
RECORD = ".written"


def read_frames(path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the JSON value of each frame and its file: a folder's in the order of the numbers in
    the names, or the list in one file. Raises ClipError for a file that is no JSON.
    """
    if not path.is_dir():
        values = _read(path)
        yield from ((path, value) for value in (values if isinstance(values, list) else [values]))
        return
    for file in sorted(map(Path, frame_files(path)), key=_place):
        values = _read(file)
        # Some programs write a list of one frame.
        alone = isinstance(values, list) and len(values) == 1
        yield file, values[0] if alone else values


def write_frames(folder: Path, frames: Iterable[dict[str, Any]]) -> int:
    """Write one JSON file for each frame, and return how many; the folder is replaced as a whole.

    Raises ClipError when it has files that `write_frames` did not write, or that were edited.
    """
    if mine := _users_files(folder):
        raise ClipError(
            f"{folder} has files that were edited or added, such as {mine[0]}, and is not written"
            " again; move it to a folder of your own, and name that in column 'keypoints'"
        )
    new = folder.with_name(f".{folder.name}.{process_label()}.part")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        hashes = {}
        for number, frame in enumerate(frames):
            file = new / f"{number:06d}.json"
            file.write_text(json.dumps(frame) + "\n", "utf-8")
            hashes[file.name] = file_hash(file)
        (new / RECORD).write_text(json.dumps(hashes) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return len(hashes)


def _users_files(folder: Path) -> list[str]:
    """Return the names of a folder's files that are not as they were written.

    Hidden ones are of file managers.
    """
    if not folder.is_dir():
        return []
    record = folder / RECORD
    hashes = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    return [f.name for f in files if not f.is_file() or file_hash(f) != hashes.get(f.name)]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ClipError(f"keypoints {file} is no JSON file ({error}); export it again") from error


def _place(file: Path) -> list[int | str]:
    """Return by what a file's name is sorted: 10 after 9."""
    parts = re.split(r"(\d+)", file.name)
    return [int(part) if part.isdigit() else part for part in parts]
