"""The gallery as files, beside those that it shows."""

from collections import defaultdict
from pathlib import Path

from animate.atomic import atomic_output
from animate.config.configuration import Configuration
from animate.config.table import Table
from animate.gallery.all_clips import all_clips
from animate.gallery.clip_page import clip_page, moments
from animate.gallery.entry import Entry
from animate.gallery.links import INDEX
from animate.gallery.standing import FINISHED, standing


def write_gallery(config: Configuration, table: Table, running_since: float | None = None) -> Path:
    """Write the page of all clips and return its path, and one for each that has any file.

    `running_since` is the time at which a run started that is alive, None without one. A page that
    would stay the same is not written.
    """
    results, logs = Path(config.results), Path(config.logs)
    index = results / INDEX
    entries = [
        Entry(clip, standing(name, results, logs, running_since), results / name)
        for name, clip in table.clips.items()
    ]
    alike = defaultdict(list)
    for entry in entries:
        if entry.standing.state == FINISHED:
            alike[moments(entry.clip)].append(entry)
    shown = [entry for entry in entries if entry.folder.is_dir()]
    for before, entry, after in zip([None, *shown], shown, [*shown[1:], None], strict=False):
        page = clip_page(entry, before, after, alike[moments(entry.clip)], index)
        _write(entry.folder / INDEX, page)
    _write(index, all_clips(config, table, entries))
    return index


def _write(path: Path, page: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != page:
        with atomic_output(path) as temporary:
            temporary.write_text(page, "utf-8")
