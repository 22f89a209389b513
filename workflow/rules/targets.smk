"""What a run makes: the results of every clip, and an error for every row that was refused."""

from snakemake.io import strip_wildcard_constraints

MANIFEST = f"{RESULTS}/manifest.json"
MANIFEST_TABLE = f"{RESULTS}/manifest.tsv"
PLAN = f"{RESULTS}/plan.tsv"
# The gallery: of all clips, and in the folder of each.
INDEX = f"{RESULTS}/index.html"


def refuse_taken_names():
    """Refuse clips whose own files would be those that the rules make of each clip, or of all."""
    outputs = [
        strip_wildcard_constraints(path)
        for rule in workflow.rules
        for path in rule.output
    ]
    outputs.append(f"{CLIP}/index.html")
    files = [Path(path) for path in outputs if os.path.dirname(path).endswith(CLIP)]
    own = [file.suffix for file in files if file.stem == "{clip}"]
    taken = {file.stem: file for file in files if file.suffix in own}
    shared = (MANIFEST, MANIFEST_TABLE, PLAN, INDEX)
    taken |= {os.path.basename(path): path for path in shared}
    for clip in [clip for name, clip in CLIPS.items() if name in taken]:
        TABLE.refuse(
            clip,
            "clip",
            f"'{clip.name}' is taken by {taken[clip.name]}; give another name",
        )


def finished_clips(wildcards):
    refuse_impossible_clips()
    names = [f"{RESULTS}/{clip}/{clip}" for clip in CLIPS]
    files = [name + suffix for name in names for suffix in (".mp4", ".json", ".html")]
    # Without a run, a report may be what was asked for.
    return files if workflow.executor_plugin else [*files, *report_entries()]


def first_previews(wildcards):
    """Return what needs no sampling: nothing of clips that wait for another one's result."""
    clips = [name for name, clip in CLIPS.items() if not clip.prepared_after_sampling]
    names = ("preview.png", "preview.mp4", "verdict.json")
    return expand(f"{RESULTS}/{{clip}}/{{name}}", clip=clips, name=names)


def refused_rows(wildcards):
    """With --keep-going a refused row is a job that fails; otherwise nothing starts."""
    if TABLE.row_mistakes and not workflow.execution_settings.keep_going:
        refuse(TABLE.all_mistakes())
    return [f"{RESULTS}/.refused/row_{number}" for number in TABLE.row_mistakes]
