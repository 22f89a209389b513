"""The page of one clip, whose videos play from the files beside it."""

import textwrap
from pathlib import Path

from animate.config.models.known import SMALL_MODELS
from animate.config.table import Clip
from animate.gallery.entry import Entry
from animate.gallery.links import INDEX, address
from animate.results.templates import EDITED, Track, changed_first, render
from animate.watch.failures import last_lines

LOG_LINES = 40
# Other results that a page offers to compare with.
MOST_OTHERS = 100
OFFERED_FILES = ("preview.mp4", "timeline.json", "metrics.json", "result_metrics.json")


def moments(clip: Clip) -> tuple[str, float | None]:
    """Return what clips that can be compared have in common: other seeds, settings, references."""
    return clip.video, clip.settings.start


def clip_page(
    entry: Entry, before: Entry | None, after: Entry | None, alike: list[Entry], index: Path
) -> str:
    """Return the page, to stand in the clip's folder.

    `before` and `after` are the clips that it leads to, `alike` those that may be compared with it,
    itself among them; `index` is the page of all clips.
    """
    clip, folder, found = entry.clip, entry.folder, entry.standing
    changed, others = changed_first(entry.settings)
    pictures = {name: folder / f"{name}.png" for name in ("src_ref", "preview")}
    links = {name: address(p, folder) if p.is_file() else "" for name, p in pictures.items()}
    names = (f"{clip.name}.mp4", f"{clip.name}.json", *OFFERED_FILES)
    gallery = {
        "home": address(index, folder),
        "neighbours": {
            title: address(other.folder / INDEX, folder)
            for title, other in (("Previous", before), ("Next", after))
            if other
        },
        "standing": found,
        "verdict": entry.verdict,
        "log": address(found.log, folder) if found.log else "",
        "lines": last_lines(found.log, LOG_LINES) if found.log else [],
        "others": _others(entry, alike),
        "files": {
            name: address(folder / name, folder) for name in names if (folder / name).is_file()
        },
    }
    return render(
        "clip.html.j2",
        clip=clip.name,
        mode=clip.mode,
        posed=clip.model.posed,
        shape=entry.shape,
        notice=SMALL_MODELS.get(Path(entry.record.get("model", {}).get("path", "")).name),
        tracks=[
            Track(title, address(path, folder), entry.place if path == entry.result else "")
            for title, path in entry.tracks().items()
        ],
        rate=entry.rate,
        cuts=entry.timeline.get("shots", [0])[1:],
        edited={
            title: address(folder / f"{name}.png", folder)
            for name, title in EDITED.items()
            if clip.edits and (folder / f"{name}.png").is_file()
        },
        reference=links["src_ref"],
        preview=links["preview"],
        changed=changed,
        others=others,
        metrics=entry.metrics,
        shots=[],
        record=entry.record,
        gallery=gallery,
    )


def _others(entry: Entry, alike: list[Entry]) -> list[dict[str, str]]:
    """Return the results that a page offers to compare with; those of its reference come first."""
    reference = entry.clip.reference
    others = [other for other in alike if other is not entry]
    others.sort(key=lambda other: other.clip.reference != reference)
    return [
        {
            "name": other.clip.name,
            "source": address(other.result, entry.folder),
            "place": other.place,
            "difference": _difference(other, entry),
        }
        for other in others[:MOST_OTHERS]
    ]


def _difference(other: Entry, entry: Entry) -> str:
    """Return in few words how another clip was made otherwise."""
    theirs, ours = ({"mode": e.clip.mode, **e.settings} for e in (other, entry))
    words = [f"{name} {value}" for name, value in theirs.items() if value != ours.get(name)]
    if other.clip.reference != entry.clip.reference:
        words.insert(0, Path(other.clip.reference).name)
    return textwrap.shorten(", ".join(words), 80, placeholder=" …")
