"""The page of all clips: a card for each, to be filtered and ordered."""

import time
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

from animate.config.configuration import Configuration
from animate.config.table import Table
from animate.gallery.entry import Entry
from animate.gallery.links import INDEX, address
from animate.gallery.standing import FAILED, FINISHED, SAMPLING, WAITING
from animate.results.templates import changed_first, render
from animate.sampling.progress import duration
from animate.watch.failures import last_lines

# There may be many clips that failed.
LOG_LINES = 6
LONGEST_WORDS = 400
# Figures of a card, of the many that a clip's page has.
SHOWN = ("pose_error", "face_identity", "identity", "background_psnr", "seams", "body", "mask")


def all_clips(config: Configuration, table: Table, entries: list[Entry]) -> str:
    """Return the page: a card for each clip, and for each row of the table that was refused."""
    results = Path(config.results)
    cards = [_card(entry, results) for entry in entries]
    cards += [_refused(row, lines) for row, lines in table.row_mistakes.items()]
    counts = Counter(card["state"] for card in cards)
    figures = {name: None for card in cards for name in card["sortable"] if name != "finished"}
    return render(
        "gallery.html.j2",
        table=config.clips,
        written=time.strftime("%Y-%m-%d %H:%M"),
        cards=cards,
        states={state: counts[state] for state in (FINISHED, FAILED, SAMPLING, WAITING)},
        verdicts=sorted({card["verdict"]["state"] for card in cards if card["verdict"]}),
        figures=list(figures),
    )


def _card(entry: Entry, results: Path) -> dict[str, Any]:
    clip, found = entry.clip, entry.standing
    changed, _ = changed_first(entry.settings)
    measured = entry.metrics | entry.record.get("figures", {})
    figures = {
        name: value
        for name, value in measured.items()
        if isinstance(value, int | float) and isfinite(value)
    }
    numbers = {
        "frames": entry.shape.get("frames"),
        "sampling_seconds": entry.sampling_seconds,
        "finished": entry.finished_at,
    }
    sortable = figures | {name: round(n) for name, n in numbers.items() if n is not None}
    prompts = (clip.settings.prompt, *(text for _, text in clip.settings.prompts))
    texts = (clip.mode, clip.video, clip.reference, *prompts)
    return {
        "name": clip.name,
        "state": found.state,
        "verdict": entry.verdict,
        "why": "" if found.state == FINISHED else found.why,
        "lines": last_lines(found.log, LOG_LINES) if found.state == FAILED and found.log else [],
        "log": address(found.log, results) if found.log else "",
        "about": _about(entry),
        "changed": {name: _cut(value) for name, value in changed.items()},
        "figures": {name: figures[name] for name in SHOWN if name in figures},
        "sortable": sortable,
        "words": " ".join(_cut(text) for text in texts),
        "page": address(entry.folder / INDEX, results) if entry.folder.is_dir() else "",
        "poster": address(entry.poster, results) if entry.poster else "",
        "video": address(entry.result, results) if entry.result.is_file() else "",
    }


def _refused(row: int, lines: list[str]) -> dict[str, Any]:
    """Return the card of a row of the table that was refused."""
    empty = dict.fromkeys(("words", "page", "poster", "video", "log"), "")
    return empty | {
        "name": f"row {row}",
        "state": FAILED,
        "verdict": {},
        "why": " ".join(lines),
        "lines": [],
        "about": "refused",
        "changed": {},
        "figures": {},
        "sortable": {},
    }


def _about(entry: Entry) -> str:
    parts = [entry.clip.mode]
    if shape := entry.shape:
        width, height = shape["size"]
        seconds = f"{shape['frames'] / entry.rate:.1f} s"
        parts += [seconds, f"{width}×{height}"]  # noqa: RUF001
    if entry.sampling_seconds is not None:
        parts.append(f"sampled in {duration(entry.sampling_seconds)}")
    if entry.finished_at is not None:
        parts.append(time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.finished_at)))
    return " · ".join(parts)


def _cut(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST_WORDS else text[:LONGEST_WORDS] + "…"
