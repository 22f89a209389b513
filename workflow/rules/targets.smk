"""What a run makes: the results of every clip, and an error for every row that was refused."""


def finished_clips(wildcards):
    refuse_impossible_clips()
    names = [f"{RESULTS}/{clip}/{clip}" for clip in CLIPS]
    return [name + suffix for name in names for suffix in (".mp4", ".json", ".html")]


def refused_rows(wildcards):
    """With --keep-going a refused row is a job that fails; otherwise nothing starts."""
    if TABLE.row_mistakes and not workflow.execution_settings.keep_going:
        refuse(TABLE.all_mistakes())
    return [f"{RESULTS}/.refused/row_{number}" for number in TABLE.row_mistakes]
