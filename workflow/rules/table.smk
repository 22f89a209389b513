"""The configuration and the table, read once, and what a rule asks of its clip."""

from snakemake.common import get_appdirs
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from animate.config.checks import config_mistakes
from animate.config.configuration import Configuration, stated
from animate.config.models.declared import DRIVEN, POSED
from animate.config.models.known import MODELS as GENERATION_MODELS
from animate.config.models.known import SMALL_MODELS
from animate.config.resolve import resolve
from animate.config.settings import (
    ClipSettings,
    EditSettings,
    FaceSettings,
    KeypointSettings,
    MaskGrid,
    MaskSettings,
    PersonMaskSettings,
    PoseBackend,
    PoseSettings,
    PreviewSettings,
    ResultSettings,
    SamplingSettings,
    SoundSettings,
    TimelineSettings,
    VerdictSettings,
)
from animate.config.table import read_table


def refuse(mistakes):
    count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    lines = "\n".join(f"  {line}" for line in mistakes)
    logger.error(
        f"{count} in the configuration or the table; nothing was started:\n{lines}"
    )
    sys.exit(1)


def load_config():
    mistakes = [f"config, {mistake}" for mistake in config_mistakes(config)]
    if mistakes:
        refuse(mistakes)
    return Configuration(**stated(config))


CONFIG = load_config()
# Where detectors run is no reason to run them again, so it is none of their params.
os.environ.update(DETECTORS=CONFIG.detectors)
CONFIG_TEXT = CONFIG.model_dump_json(exclude_unset=True)


def load_table():
    table = read_table(CONFIG.clips, CONFIG)
    if table.file_mistakes:
        refuse(table.file_mistakes)
    return table


TABLE = load_table()
CLIPS = TABLE.clips
RESULTS = CONFIG.results
LOGS = CONFIG.logs
# A table without clips is for the models of those to come.
MODELS_USED = list(dict.fromkeys(clip.model.name for clip in CLIPS.values())) or [
    resolve({}, CONFIG).model
]
CLIP = f"{RESULTS}/{{clip}}"

if not CLIPS and not TABLE.row_mistakes:
    logger.warning(f"{CONFIG.clips} has no clips yet: add rows, see config/README.md")
for ignored, names in TABLE.ignored.items():
    shown = ", ".join(names[:5]) + (" and others" if names[5:] else "")
    logger.warning(f"{CONFIG.clips} states {ignored}: ignored for {shown}")
for name in MODELS_USED:
    if name in SMALL_MODELS:
        logger.warning(SMALL_MODELS[name])


# The links beside the Snakefile come before a user's own profiles of these names.
if workflow.is_main_process:
    asked = {word.removeprefix("--profile=") for word in sys.argv}
    asked.add(os.environ.get("SNAKEMAKE_PROFILE"))
    for name in ("local", "slurm"):
        own = Path(get_appdirs().user_config_dir, name)
        if name in asked and os.path.exists(name) and own.exists():
            logger.warning(
                f"profile {name} is the workflow's, profiles/{name}, and not yours: for that, give"
                f" --profile {own}"
            )


ANY_CLIP = "[A-Za-z0-9][A-Za-z0-9._-]*(~seed[0-9]+)?"


wildcard_constraints:
    clip=ANY_CLIP,


def clip_of(wildcards):
    if wildcards.clip not in CLIPS:
        raise WorkflowError(f"no clip '{wildcards.clip}' in {CONFIG.clips}")
    return CLIPS[wildcards.clip]


def clips_of_model(name):
    return [clip for clip in CLIPS.values() if clip.model.name == name]


def clips_of_kind(kind):
    """Return the wildcard pattern of the clips whose model is of a kind."""
    driven = [clip.name for clip in CLIPS.values() if not clip.model.posed]
    names = "|".join(map(re.escape, driven)) or "(?!)"
    # There are far more of the others.
    return names if kind == DRIVEN else rf"(?!(?:{names})/){ANY_CLIP}"


def models_used(condition=lambda model: True):
    """Return the wildcard pattern of the clips' models that meet a condition."""
    names = [name for name in MODELS_USED if condition(GENERATION_MODELS[name])]
    return "|".join(map(re.escape, names)) or "(?!)"


def is_posed(wildcards):
    """Tell whether a clip's model reads a drawn pose, and not the driving video itself."""
    return clip_of(wildcards).model.posed


def replaces(wildcards):
    return clip_of(wildcards).mode == "replace"


def retargets(wildcards):
    return clip_of(wildcards).retargets


def edits(wildcards):
    return clip_of(wildcards).edits


def marks_points(wildcards):
    return bool(clip_of(wildcards).settings.points) and replaces(wildcards)


def excludes(wildcards):
    return bool(clip_of(wildcards).excluded)


def compares_limbs(wildcards):
    return clip_of(wildcards).compares_limbs


def driving_video(wildcards):
    return clip_of(wildcards).video


def reference_image(wildcards):
    return clip_of(wildcards).reference


def settings(stage):
    """Return a params function: the JSON text of the clip's settings that a stage reads."""

    def of_clip(wildcards):
        return clip_of(wildcards).settings.text_for(stage)

    return of_clip
