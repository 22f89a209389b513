"""Reads the configuration and the table once, and hands each rule what it uses."""

import json
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

RULES = Path(workflow.current_basedir.get_path_or_uri(secret_free=False))
SCRIPTS = RULES.parent / "scripts"
sys.path.insert(0, str(SCRIPTS))
# Without --sdm conda the jobs run in the environment that runs Snakemake, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

from animate.settings import complete_config, config_mistakes
from animate.schema import load_schema
from animate.table import read_table

CONFIG = complete_config(config)


def refuse(mistakes):
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    lines = "\n".join(f"  {line}" for line in mistakes)
    logger.error(f"{count} in the configuration or the table; nothing was started:\n{lines}")
    sys.exit(1)


def load_table():
    mistakes = [f"config, {mistake}" for mistake in config_mistakes(CONFIG)]
    if mistakes:
        refuse(mistakes)
    table = read_table(CONFIG["clips"], CONFIG)
    if table.file_mistakes:
        refuse(table.file_mistakes)
    return table


TABLE = load_table()
CLIPS = TABLE.clips
RESULTS = CONFIG["results"]
LOGS = CONFIG["logs"]
MODEL = f"{CONFIG['models']}/{CONFIG['model']}"
CLIP = f"{RESULTS}/{{clip}}"


wildcard_constraints:
    clip="[A-Za-z0-9][A-Za-z0-9._-]*",


def finished_clips(wildcards):
    names = [f"{RESULTS}/{clip}/{clip}" for clip in CLIPS]
    return [name + suffix for name in names for suffix in (".mp4", ".json", ".html")]


def refused_rows(wildcards):
    """With --keep-going a refused row is a job that fails; otherwise nothing starts."""
    if TABLE.row_mistakes and not workflow.execution_settings.keep_going:
        refuse(TABLE.all_mistakes())
    return [f"{RESULTS}/.refused/row_{number}" for number in TABLE.row_mistakes]


def clip_of(wildcards):
    if wildcards.clip not in CLIPS:
        raise WorkflowError(f"no clip '{wildcards.clip}' in {CONFIG['clips']}")
    return CLIPS[wildcards.clip]


def settings(*names):
    """Return a params function: the JSON text of just these settings of the clip."""

    def of_clip(wildcards):
        resolved = clip_of(wildcards).settings
        return json.dumps({name: resolved[name] for name in names}, ensure_ascii=False)

    return of_clip


def driving_video(wildcards):
    return clip_of(wildcards).video


def reference_image(wildcards):
    return clip_of(wildcards).reference


def replaces(wildcards):
    return clip_of(wildcards).mode == "replace"


if not CLIPS and not TABLE.row_mistakes:
    logger.warning(f"{CONFIG['clips']} has no clips yet: add one row per clip, see config/README.md")


rule refused_row:
    output:
        f"{RESULTS}/.refused/row_{{number}}",
    params:
        mistakes=lambda wildcards: TABLE.row_mistakes[int(wildcards.number)],
    log:
        f"{LOGS}/refused_row/{{number}}.log",
    localrule: True
    shell:
        "printf '%s\\n' {params.mistakes:q} > {log:q}; exit 1"
