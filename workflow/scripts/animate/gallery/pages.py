"""The gallery's pages, written beside the files that they show."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from animate.atomic import atomic_output
from animate.config.configuration import Configuration
from animate.config.table import Clip, Table
from animate.gallery.entry import Entry
from animate.gallery.standing import FAILED, FINISHED, SAMPLING, WAITING, standing
from animate.results.templates import Track, changed_first, render
from animate.sampling.progress import duration
from animate.watch.failures import last_lines

INDEX = "index.html"
# Lines of a log on the page of all clips, where there may be many, and on the clip's own.
FEW_LINES, MANY_LINES = 6, 40
LONGEST_WORDS = 400
# Other clips that a page offers to compare with.
MOST_OTHERS = 100
# Figures of a card, of the many that a clip's page has.
SHOWN = ("pose_error", "face_identity", "identity", "background_psnr", "seams", "body", "mask")
OFFERED_FILES = ("preview.mp4", "timeline.json", "metrics.json", "result_metrics.json")


def write_gallery(config: Configuration, table: Table, running_since: float | None = None) -> Path:
    """Write the page of all clips and return its path, and one for each that has any file.

    `running_since` is the time at which a run started that is alive, None without one. A page that
    would stay the same is not written.
    """
    results, logs = Path(config.results), Path(config.logs)
    entries = [
        Entry(clip, standing(name, results, logs, running_since), results / name)
        for name, clip in table.clips.items()
    ]
    pages = [entry for entry in entries if entry.folder.is_dir()]
    finished = [entry for entry in entries if entry.standing.state == FINISHED]
    for place, entry in enumerate(pages):
        around = {"Previous": pages[place - 1] if place else None, "Next": None}
        around["Next"] = pages[place + 1] if place + 1 < len(pages) else None
        near = {title: found for title, found in around.items() if found}
        _write(entry.folder / INDEX, _clip_page(entry, near, finished, results / INDEX))
    cards = [_card(entry, results) for entry in entries]
    cards += [_refused(row, lines) for row, lines in table.row_mistakes.items()]
    _write(results / INDEX, _all_clips(config, cards))
    return results / INDEX


def _write(path: Path, page: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != page:
        with atomic_output(path) as temporary:
            temporary.write_text(page, "utf-8")


def address(path: Path, folder: Path) -> str:
    """Return the link to a file from a page in a folder; any characters may be in the path."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def _all_clips(config: Configuration, cards: list[dict[str, Any]]) -> str:
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
        if isinstance(value, int | float) and name != "frames"
    }
    sortable = figures | {"frames": entry.shape["frames"]} if entry.shape else figures
    seconds = entry.sampling_seconds
    times = {"sampling_seconds": seconds, "finished": entry.finished_at}
    sortable |= {name: round(value) for name, value in times.items() if value is not None}
    texts = (clip.mode, clip.video, clip.reference, clip.settings.prompt)
    return {
        "name": clip.name,
        "state": found.state,
        "verdict": entry.verdict,
        "why": "" if found.state == FINISHED else found.why,
        "lines": last_lines(found.log, FEW_LINES) if found.state == FAILED and found.log else [],
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


def _clip_page(entry: Entry, near: dict[str, Entry], finished: list[Entry], index: Path) -> str:
    clip, folder, found = entry.clip, entry.folder, entry.standing
    changed, others = changed_first(entry.settings)
    pictures = {name: folder / f"{name}.png" for name in ("src_ref", "preview")}
    links = {name: address(p, folder) if p.is_file() else "" for name, p in pictures.items()}
    names = (f"{clip.name}.mp4", f"{clip.name}.json", *OFFERED_FILES)
    gallery = {
        "home": address(index, folder),
        "neighbours": {
            title: address(other.folder / INDEX, folder) for title, other in near.items()
        },
        "standing": found,
        "verdict": entry.verdict,
        "log": address(found.log, folder) if found.log else "",
        "lines": last_lines(found.log, MANY_LINES) if found.log else [],
        "others": _others(entry, finished),
        "files": {
            name: address(folder / name, folder) for name in names if (folder / name).is_file()
        },
    }
    return render(
        "clip.html.j2",
        clip=clip.name,
        mode=clip.mode,
        shape=entry.shape,
        noise_by_design=entry.record.get("model", {}).get("path", "").endswith("tiny"),
        tracks=[Track(title, address(path, folder)) for title, path in entry.tracks().items()],
        rate=entry.rate,
        cuts=entry.timeline.get("shots", [0])[1:],
        reference=links["src_ref"],
        preview=links["preview"],
        changed=changed,
        others=others,
        metrics=entry.metrics,
        shots=[],
        record=entry.record,
        gallery=gallery,
    )


def _others(entry: Entry, finished: list[Entry]) -> list[dict[str, str]]:
    """Return the finished clips of the same moments of the same driving video: other seeds,
    settings or references; those of the same reference come first."""
    alike = [
        other
        for other in finished
        if other is not entry and _moments(other.clip) == _moments(entry.clip)
    ]
    alike.sort(key=lambda other: other.clip.reference != entry.clip.reference)
    return [
        {
            "name": other.clip.name,
            "source": address(other.result, entry.folder),
            "difference": _difference(other, entry),
        }
        for other in alike[:MOST_OTHERS]
    ]


def _moments(clip: Clip) -> tuple[str, float | None]:
    return clip.video, clip.settings.start


def _difference(other: Entry, entry: Entry) -> str:
    """Return in few words how another clip was made otherwise."""
    theirs, ours = ({"mode": e.clip.mode, **e.settings} for e in (other, entry))
    words = [f"{name} {value}" for name, value in theirs.items() if value != ours.get(name)]
    if other.clip.reference != entry.clip.reference:
        words.insert(0, Path(other.clip.reference).name)
    text = ", ".join(words)
    return text if len(text) <= 80 else text[:80] + "…"
