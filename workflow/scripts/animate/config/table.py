"""The table of clips: how it is read and everything that can be wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError

from animate.config.checks import (
    combination_mistakes,
    ignored_settings,
    model_mistakes,
    preset_mistakes,
)
from animate.config.configuration import Configuration
from animate.config.fields import Declared, setting
from animate.config.mistakes import Mistake, find_mistakes, mistakes_of, nearest_name
from animate.config.models.declared import GenerationModel
from animate.config.models.known import MODELS
from animate.config.own_files.checks import ignored_own_files, own_file_mistakes
from animate.config.own_files.declared import NOTHING_OWN, OwnFiles
from animate.config.own_files.points import excluded_objects
from animate.config.resolve import resolve
from animate.config.rows.chains import (
    CONTINUE,
    VIDEO,
    chain_mistakes,
    intermediate_file,
    taken_clip,
)
from animate.config.rows.seeds import read_seeds, seed_name
from animate.config.settings import ClipSettings, relative_to_table


class Columns(Declared):
    """The four columns that every table has; every setting and own file may be one more."""

    clip: str = setting(
        ...,
        "Name of the clip; its files are in `results/{clip}/`",
        "1 to 100 of the letters A-Z and a-z, digits, `.`, `_` and `-`, starting with a letter or"
        " digit; no name twice",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    )
    video: str = setting(
        ...,
        "The driving video, whose motion is used",
        "a path with any letters, absolute or relative to the table, or `clip:NAME`, the result of"
        " the row of this name",
        min_length=1,
    )
    reference: str = setting(
        ..., "The character image", "a path, absolute or relative to the table", min_length=1
    )
    mode: Literal["animate", "replace"] = setting(
        ...,
        "`animate`: the character moves like the driving person, in the reference's frame shape;"
        " `replace`: the character takes the person's place in the driving video",
    )


REQUIRED = list(Columns.model_fields)
OWN_FILES = list(OwnFiles.model_fields)
SETTINGS = list(ClipSettings.model_fields)
MODEL_INDEX = "model_index.json"


@dataclass(frozen=True)
class Clip:
    """One good row, by its number: paths as seen from the working directory, settings resolved.

    `source` is the clip whose result is the driving video, None where that is the user's file;
    `continued` the clip from whose last frames this one goes on, None where it begins anew; `taken`
    whether another clip needs this one's own result.
    """

    name: str
    video: str
    reference: str
    mode: str
    settings: ClipSettings
    row: int = 0
    own: OwnFiles = NOTHING_OWN
    # The objects that stay out of its mask.
    excluded: tuple[str, ...] = ()
    source: "Clip | None" = None
    continued: "Clip | None" = None
    taken: bool = False

    @property
    def model(self) -> GenerationModel:
        """What samples it."""
        return MODELS[self.settings.model]

    @property
    def awaited(self) -> "dict[str, Clip]":
        """The clips whose results it needs, by its columns."""
        needed = {VIDEO: self.source, CONTINUE: self.continued}
        return {column: clip for column, clip in needed.items() if clip}

    @property
    def prepared_after_sampling(self) -> bool:
        """Whether its timeline can be made only once another clip is sampled."""
        # One that goes on from another has that one's size, known from its timeline.
        before = self.continued
        return self.source is not None or bool(before and before.prepared_after_sampling)

    @property
    def has_points(self) -> bool:
        """Whether there are points of the person in the driving video, found or given."""
        return self.model.posed and self.own.has_points(self.mode)

    @property
    def finds_mask(self) -> bool:
        """Whether the person's outline is left to find."""
        return self.model.posed and self.own.finds_mask(self.mode)

    @property
    def retargets(self) -> bool:
        """Whether the pose is drawn with the proportions of the reference."""
        drawn = self.mode == "animate" and not self.own.pose_video
        return self.model.posed and drawn and self.settings.retarget != "none"

    @property
    def edits(self) -> bool:
        """Whether driver and reference are edited into a standard pose, to be measured there."""
        return self.retargets and self.settings.retarget == "flux"

    @property
    def compares_limbs(self) -> bool:
        """Whether the verdict may recommend to retarget, by points found in the reference."""
        drawn = self.has_points and not self.own.pose_video
        fixed = self.mode == "replace" or self.retargets
        return self.settings.require.asks and drawn and not fixed

    @property
    def unread(self) -> dict[str, str]:
        """The settings that nobody reads because of model or own files, each with the reason."""
        unread = dict.fromkeys(self.model.unread, f"model {self.model.name}")
        if self.model.own_files:
            unread |= self.own.unread(self.mode, self.retargets or self.compares_limbs)
        return unread


def with_seed(clip: Clip, seed: int) -> Clip:
    """Return a clip that differs in the seed and in the name that says so."""
    settings = clip.settings.model_copy(update={"seed": seed})
    return replace(clip, name=seed_name(clip.name, seed), settings=settings)


@dataclass
class Table:
    """The good clips by name, the mistakes of the file, and those of each refused row.

    `ignored` has the names of the clips whose row states a setting that they do not read.
    """

    path: Path
    clips: dict[str, Clip] = field(default_factory=dict)
    file_mistakes: list[str] = field(default_factory=list)
    row_mistakes: dict[int, list[str]] = field(default_factory=dict)
    ignored: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, clip: Clip, column: str, problem: str) -> None:
        """Move a good row to the refused ones: the clips of all its seeds, and what takes them."""
        names = [name for name, other in self.clips.items() if other.row == clip.row]
        for name in names:
            del self.clips[name]
        self.row_mistakes[clip.row] = [f"{self.path}, row {clip.row}, column '{column}': {problem}"]
        for other in list(self.clips.values()):
            for column, awaited in other.awaited.items():
                if awaited.name in names and other.name in self.clips:
                    self.refuse(other, column, _is_refused(column, clip.name, clip.row))

    def all_mistakes(self) -> list[str]:
        """Return every mistake as one line, in the order of the table."""
        rows = sorted(self.row_mistakes.items())
        return self.file_mistakes + [line for _, lines in rows for line in lines]


def read_table(path: str | Path, config: Configuration) -> Table:
    """Read clips.csv and check every cell against the declarations and the file system.

    Commas, semicolons and tabs separate; a byte-order mark and Windows line ends are fine. Rows
    count as in a spreadsheet: the header is row 1. Of the clips' files, only `points` are opened.
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
    known = REQUIRED + OWN_FILES + SETTINGS
    if not any(header):
        yield "row 1: empty; it must be clip,video,reference,mode"
        return
    for name in header:
        if name not in known:
            yield f"row 1, column '{name}': unknown; {nearest_name(name, known)}"
    for name in sorted({name for name in header if header.count(name) > 1}):
        yield f"row 1, column '{name}': stands {header.count(name)} times; keep one"
    for name in REQUIRED:
        if name not in header:
            yield f"row 1: column '{name}' is missing"


def _read_rows(
    table: Table, header: list[str], rows: list[list[str]], config: Configuration
) -> None:
    first_row_of: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
        if not cells:
            continue
        seeds = read_seeds(cells.get("seed", ""))
        cells |= {"seed": str(seeds[0])} if seeds else {}
        clip, mistakes, ignored = _read_row(cells, table.path.parent, config)
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
            for seed in seeds[1:]:
                other = with_seed(clip, seed)
                table.clips[other.name] = replace(other, row=number)
            for problem in ignored:
                table.ignored.setdefault(problem, []).append(clip.name)
    rows_of = {name: clip.row for name, clip in table.clips.items()} | first_row_of
    _link(table, rows_of, config.results)


def _link(table: Table, rows: dict[str, int], results: str) -> None:
    """Give each clip that takes another's result that clip, and the file, or refuse its row.

    `rows` maps every name of the table, also those of refused rows, to its row.
    """
    takes = {name: others for name, clip in table.clips.items() if (others := _takes(clip))}
    for name, column, problem in chain_mistakes(takes, rows):
        # The clips of all seeds are refused with the first.
        if name in table.clips:
            table.refuse(table.clips[name], column, problem)
    chained = {name: others.values() for name, others in takes.items() if name in table.clips}
    taken = {other for others in chained.values() for other in others}
    # Those that are taken come first.
    for name in TopologicalSorter(chained).static_order():
        if (clip := table.clips.get(name)) is None:
            continue
        clip = table.clips[name] = replace(clip, taken=name in taken)
        for column, other in takes.get(name, {}).items():
            problem = _link_problem(column, clip, table.clips.get(other), other, rows)
            if problem:
                table.refuse(clip, column, problem)
                break
            found = table.clips[other]
            if column == VIDEO:
                clip = replace(clip, video=intermediate_file(results, other), source=found)
            else:
                clip = replace(clip, continued=found)
            table.clips[name] = clip


def _takes(clip: Clip) -> dict[str, str]:
    """Return the clips whose results a row's cells name, by their columns."""
    video, continued = taken_clip(clip.video), clip.settings.continue_from
    return ({} if video is None else {VIDEO: video}) | ({CONTINUE: continued} if continued else {})


def _link_problem(
    column: str, clip: Clip, other: Clip | None, name: str, rows: dict[str, int]
) -> str | None:
    if other is None:
        return _is_refused(column, name, rows[name])
    if column == CONTINUE and other.mode != clip.mode:
        return f"clip '{name}' has mode {other.mode}, this one {clip.mode}; they must be alike"
    if column == CONTINUE and other.model.kind != clip.model.kind:
        return (
            f"clip '{name}' has model {other.model.name}, which reads other inputs than this one's"
            f" {clip.model.name}; give both the same"
        )
    return None


def _is_refused(column: str, name: str, row: int) -> str:
    needed = "be the driving video" if column == VIDEO else "be gone on from"
    return f"clip '{name}' in row {row} is refused; its result would {needed}"


def _read_row(
    cells: dict[str, str], folder: Path, config: Configuration
) -> tuple[Clip | None, list[Mistake], list[str]]:
    """Return a row's clip, its mistakes, and which of its settings the clip does not read."""
    required = {key: cells[key] for key in REQUIRED if key in cells}
    given = {key: _read_cell(key, cells[key]) for key in SETTINGS if key in cells}
    row = {key: value for key, (value, _) in given.items()}
    mistakes = find_mistakes(Columns, required)
    mistakes += [mistake for _, found in given.values() for mistake in found]
    if "preset" in row:
        mistakes += preset_mistakes(row["preset"], config.presets)
    video, files = required.get("video", ""), {}
    # Another clip's result may not be there yet.
    if taken_clip(video) is None:
        video = files["video"] = relative_to_table(video, folder)
    reference = files["reference"] = relative_to_table(required.get("reference", ""), folder)
    mistakes += _file_mistakes(files, required)
    named = {key: relative_to_table(cells[key], folder) for key in OWN_FILES if key in cells}
    own = OwnFiles(**named)
    written = {"results": config.results, "logs": config.logs, "weights": config.models}
    mistakes += own_file_mistakes(own, written)
    if mistakes:
        return None, mistakes, []
    settings = resolve(row, config).relative_to(folder)
    mistakes += combination_mistakes(settings)
    mode, model = required["mode"], MODELS[settings.model]
    mistakes += model_mistakes(settings, mode)
    read = own.read_in(mode, model)
    clip = Clip(required["clip"], video, reference, mode, settings, own=read)
    files = {name: [path] for name, path in settings.own_paths.items()}
    if settings.own_editor and clip.edits:
        files["retarget_model"] = [str(Path(settings.own_editor, MODEL_INDEX))]
    for name in ("loras", "distillation_loras"):
        files[name] = [lora.path for lora in getattr(settings, name)]
    mistakes += [
        Mistake(key, f"no such file: '{path}'")
        for key, paths in files.items()
        for path in filter(None, paths)
        if not Path(path).is_file()
    ]
    if settings.points and clip.finds_mask and not mistakes:
        excluded, found = excluded_objects(settings.points, settings.mask_backend)
        mistakes += found
        clip = replace(clip, excluded=excluded)
    stated = [name for name in row if name not in model.unread]
    ignored = [*ignored_settings(stated, settings, mode), *ignored_own_files(own, mode, model)]
    unread = {name: column for name, column in clip.unread.items() if name in row}
    ignored += [f"'{name}', which is not read with {column}" for name, column in unread.items()]
    return clip, mistakes, ignored


@cache
def _read_cell(name: str, text: str) -> tuple[Any, list[Mistake]]:
    """Return a cell's value and its mistakes; most cells of a column are alike."""
    try:
        return getattr(ClipSettings.model_validate_strings({name: text}), name), []
    except ValidationError as error:
        return None, mistakes_of(error, ClipSettings)


def _file_mistakes(paths: dict[str, str], required: dict[str, str]) -> Iterator[Mistake]:
    for column, path in paths.items():
        if column in required and not Path(path).is_file():
            problem = f"no such file: '{path}' (relative paths start at the table's folder)"
            yield Mistake(column, problem)
