"""The configuration and the table, read once, and what a rule asks of its clip."""

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from animate.settings import complete_config, config_mistakes
from animate.table import read_table

CONFIG = complete_config(config)
# Where detectors run is no reason to run them again, so it is none of their params.
os.environ.update(DETECTORS=CONFIG["detectors"])
CONFIG_TEXT = json.dumps(CONFIG, ensure_ascii=False)


def refuse(mistakes):
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    lines = "\n".join(f"  {line}" for line in mistakes)
    logger.error(
        f"{count} in the configuration or the table; nothing was started:\n{lines}"
    )
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

if not CLIPS and not TABLE.row_mistakes:
    logger.warning(
        f"{CONFIG['clips']} has no clips yet: add rows, see config/README.md"
    )
if CONFIG["model"] == "tiny":
    logger.warning("The tiny model has random weights: its videos are noise by design.")


wildcard_constraints:
    clip="[A-Za-z0-9][A-Za-z0-9._-]*",


def clip_of(wildcards):
    if wildcards.clip not in CLIPS:
        raise WorkflowError(f"no clip '{wildcards.clip}' in {CONFIG['clips']}")
    return CLIPS[wildcards.clip]


def replaces(wildcards):
    return clip_of(wildcards).mode == "replace"


def retargets(wildcards):
    return clip_of(wildcards).settings["retarget"] != "none" and not replaces(wildcards)


def driving_video(wildcards):
    return clip_of(wildcards).video


def reference_image(wildcards):
    return clip_of(wildcards).reference


def settings(*names):
    """Return a params function: the JSON text of just these settings of the clip."""

    def of_clip(wildcards):
        resolved = clip_of(wildcards).settings
        return json.dumps({name: resolved[name] for name in names}, ensure_ascii=False)

    return of_clip
