"""What `snakemake --report` shows: the clips that are finished, and why the others are not.

A mark on an output would demand of each clip that it is finished; marked here is what exists.
"""

import functools

from animate.config.rows.chains import intermediate_file
from animate.watch.unfinished import unfinished

TEXTS = workflow.current_basedir.join("../report")
LISTED = 10


def shown(path, category, text=None, subcategory=None, **labels):
    caption = TEXTS.join(text) if text else None
    return report(path, caption, category, subcategory, labels)


def waits_for(clip):
    """Return a clip whose result another one needs and that is not there yet, or nothing."""
    for other in clip.awaited.values():
        if not os.path.exists(intermediate_file(RESULTS, other.name)):
            return other.name
    return ""


@functools.cache
def report_entries():
    """Return the files that a report shows, each marked with its place there."""
    pages = {name: f"{RESULTS}/{name}/{name}.html" for name in CLIPS}
    sheets = {name: f"{RESULTS}/{name}/preview.png" for name in CLIPS}
    missing = [
        unfinished(
            name,
            Path(LOGS).glob(f"*/{name}.log"),
            Path(RESULTS, name),
            waits_for(CLIPS[name]),
        )
        for name, page in pages.items()
        if not os.path.exists(page)
    ]
    tell(missing)
    entries = [
        # A second label of two values would become a switch between clips.
        shown(page, "Clips", "clip.rst", CLIPS[name].mode, clip=name)
        for name, page in pages.items()
        if os.path.exists(page)
    ]
    entries += [
        shown(sheet, "Previews", "preview.rst", clip=name)
        for name, sheet in sheets.items()
        if os.path.exists(sheet)
    ]
    entries += [
        shown(str(one.log), "Not finished", clip=one.clip, why=one.why)
        for one in missing
        if one.log
    ]
    # A file stands there once, so the table stands for all clips that have none.
    if waiting := [one.clip for one in missing if not one.log]:
        clips = ", ".join(waiting)
        entries.append(
            shown(CONFIG.clips, "Not finished", clip=clips, why="not started")
        )
    return entries


def tell(missing):
    """Say what is not finished, and spare a warning for each file that is not there."""
    if missing:
        lines = [f"  {one}" for one in missing[:LISTED]]
        lines += [f"  and {len(missing) - LISTED} others"] if missing[LISTED:] else []
        logger.warning(
            "\n".join(
                [f"{len(missing)} of {len(CLIPS)} clips are not finished:", *lines]
            )
        )
    logger.addFilter(
        lambda record: not str(record.msg).startswith("Missing metadata for file")
    )
