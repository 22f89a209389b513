"""Clips that are named like a file or a folder that the workflow makes."""

from project import Project


def names_of(project: Project) -> tuple[set[str], set[str]]:
    """Return all names that a finished project has, and those that no clip can have."""
    results, logs = project.folder / "results", project.folder / "logs"
    files = [file for file in results.glob("*/*") if file.stem != file.parent.name]
    tops = [*results.glob("[!.]*.*"), results / "plan.tsv"]
    every = {name for file in files for name in (file.stem, file.name)}
    every |= {path.name for path in (*tops, *logs.glob("*"), *project.folder.glob("[!.]*"))}
    every |= {path.stem for path in tops} | {"all", "results", "models", "src_bg"}
    taken = {file.stem for file in files if file.suffix in (".mp4", ".json", ".html")}
    # What `previews` makes beside the sheet.
    taken |= {"preview"}
    return {name for name in every if name[0] != "."}, taken | {path.name for path in tops}


def test_every_name_of_a_file_works_or_is_refused_in_one_sentence(project, rows):
    names, taken = names_of(project)
    assert len(names) > 50 and {"sampled", "timeline", "metrics", "src_mask"} <= taken < names
    project.write_table(*rows, *(rows[1] | {"clip": name} for name in sorted(names)))
    done = project.snakemake(check=False)
    said = [line for line in done.stderr.splitlines() if "is taken by" in line]
    assert done.returncode == 1 and len(said) == len(taken)
    assert {line.split("'")[3] for line in said} == taken
    project.write_table(*rows, *(rows[1] | {"clip": name} for name in sorted(names - taken)))
    jobs = project.pending_jobs()
    assert set(jobs) - {""} == names - taken
    assert all(
        found["mux"] == found["provenance"] == found["sample"] == 1
        for clip, found in jobs.items()
        if clip
    )
