"""The table of clips: how it is read and everything that can be wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from animate.config import settings as settings_of
from animate.config.schema import Mistake, find_mistakes, load_schema, nearest_name


@dataclass(frozen=True)
class Clip:
    """One good row, by its number: paths as seen from the working directory, settings resolved."""

    name: str
    video: str
    reference: str
    mode: str
    settings: dict[str, Any]
    row: int = 0


@dataclass
class Table:
    """The good clips by name, the mistakes of the file, and those of each refused row."""

    path: Path
    clips: dict[str, Clip] = field(default_factory=dict)
    file_mistakes: list[str] = field(default_factory=list)
    row_mistakes: dict[int, list[str]] = field(default_factory=dict)

    def refuse(self, clip: Clip, column: str, problem: str) -> None:
        """Move a good row to the refused ones."""
        del self.clips[clip.name]
        self.row_mistakes[clip.row] = [f"{self.path}, row {clip.row}, column '{column}': {problem}"]

    def all_mistakes(self) -> list[str]:
        """Return every mistake as one line, in the order of the table."""
        return self.file_mistakes + [line for lines in self.row_mistakes.values() for line in lines]


def read_table(path: str | Path, config: dict[str, Any]) -> Table:
    """Read clips.csv and check every cell against the schemas and the file system.

    Commas, semicolons and tabs separate; a byte-order mark and Windows line ends are fine. Rows
    count as in a spreadsheet: the header is row 1. No file of a clip is opened.
    """
    table = Table(Path(path))
    try:
        cells = _read_cells(table.path)
    except ValueError as error:
        table.file_mistakes.append(f"{path}: {error}")
        return table
    header, *rows = cells
    table.file_mistakes += [f"{path}, {mistake}" for mistake in _header_mistakes(header)]
    if not table.file_mistakes:
        _read_rows(table, header, rows, config)
    return table


def _read_cells(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise ValueError("no such file; name the table with --config clips=TABLE.csv")
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = max(",;\t", key=first.count)
        frame = pd.read_csv(
            path,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise ValueError("empty; the first row must be clip,video,reference,mode") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8; save the table as CSV UTF-8") from None
    except pd.errors.ParserError as error:
        detail = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ValueError(f"not a table: {detail}; quote cells that hold a '{separator}'") from None
    return [[cell.strip() for cell in row] for row in frame.itertuples(index=False)]


def _header_mistakes(header: list[str]) -> Iterator[str]:
    required = load_schema("clips")["required"]
    known = required + list(load_schema("settings")["properties"])
    if not any(header):
        yield "row 1: empty; it must be clip,video,reference,mode"
        return
    for name in header:
        if name not in known:
            yield f"row 1, column '{name}': unknown; {nearest_name(name, known)}"
    for name in sorted({name for name in header if header.count(name) > 1}):
        yield f"row 1, column '{name}': stands {header.count(name)} times; keep one"
    for name in required:
        if name not in header:
            yield f"row 1: column '{name}' is missing"


def _read_rows(table: Table, header: list[str], rows: list[list[str]], config: dict) -> None:
    first_row_of: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
        if not cells:
            continue
        clip, mistakes = _read_row(cells, table.path.parent, config)
        name = cells.get("clip")
        if name in first_row_of:
            problem = f"'{name}' stands already in row {first_row_of[name]}; names must differ"
            mistakes.append(Mistake("clip", problem))
        elif name:
            first_row_of[name] = number
        if mistakes:
            table.row_mistakes[number] = [
                f"{table.path}, row {number}, column '{m.key}': {m.problem}" for m in mistakes
            ]
        else:
            table.clips[clip.name] = replace(clip, row=number)


def _read_row(cells: dict[str, str], folder: Path, config: dict) -> tuple[Clip | None, list]:
    required = {key: cells[key] for key in load_schema("clips")["required"] if key in cells}
    given = {key: _read_cell(key, cell) for key, cell in cells.items() if key not in required}
    row = {key: value for key, (value, _) in given.items()}
    mistakes = list(find_mistakes("clips", required))
    for key in filter(given.__contains__, load_schema("settings")["properties"]):
        mistakes += given[key][1]
    if "preset" in row:
        mistakes += settings_of.preset_mistakes(row["preset"], config)
    video, reference = (
        settings_of.relative_to_table(required.get(key, ""), folder)
        for key in ("video", "reference")
    )
    mistakes += _file_mistakes({"video": video, "reference": reference}, required)
    if mistakes:
        return None, mistakes
    settings = settings_of.resolve(row, config)
    mistakes += settings_of.combination_mistakes(settings)
    if checkpoint := settings["sam2_checkpoint"]:
        settings["sam2_checkpoint"] = settings_of.relative_to_table(checkpoint, folder)
        if not Path(settings["sam2_checkpoint"]).is_file():
            problem = f"no such file: '{settings['sam2_checkpoint']}'"
            mistakes.append(Mistake("sam2_checkpoint", problem))
    loras = settings["loras"]
    settings["loras"] = settings_of.lora_files(loras, folder, config["models"])
    mistakes += [
        Mistake("loras", f"no such file: '{file['path']}'")
        for lora, file in zip(loras, settings["loras"], strict=True)
        if "path" in lora and not Path(file["path"]).is_file()
    ]
    return Clip(required["clip"], video, reference, required["mode"], settings), mistakes


@cache
def _read_cell(setting: str, text: str) -> tuple[Any, list[Mistake]]:
    """Return a cell's value and its mistakes; most cells of a column are alike."""
    value = settings_of.parse_cell(setting, text)
    return value, list(find_mistakes("settings", {setting: value}))


def _file_mistakes(paths: dict[str, str], required: dict[str, str]) -> Iterator[Mistake]:
    for column, path in paths.items():
        if column in required and not Path(path).is_file():
            problem = f"no such file: '{path}' (relative paths start at the table's folder)"
            yield Mistake(column, problem)
