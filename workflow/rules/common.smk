"""Reads the configuration and the table once, and hands each rule what it uses."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from snakemake.common import get_function_params, overwrite_function_params
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger


def workflow_folder():
    """Return the folder of the workflow; one on a git host is unpacked from Snakemake's clone."""
    rules = workflow.current_basedir
    if not hasattr(rules, "hosted_repo"):
        return Path(rules.get_path_or_uri(secret_free=False)).parents[1]
    clone = rules.hosted_repo.repo
    folder = Path(".snakemake/wan-animate", clone.commit(rules.ref).hexsha).absolute()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            archive = Path(temporary, "archive.tar")
            clone.git.archive(rules.ref, output=str(archive.absolute()))
            unpacked = Path(temporary, "unpacked")
            shutil.unpack_archive(archive, unpacked)
            with contextlib.suppress(FileExistsError):
                unpacked.rename(folder)
    return folder


WORKFLOW = workflow_folder()
SCRIPTS = str(WORKFLOW / "workflow/scripts")
sys.path.insert(0, SCRIPTS)
# Jobs without an environment of their own run in Snakemake's, activated or not; commands name the
# scripts through a variable, so that a moved clone runs nothing again.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    SCRIPTS=SCRIPTS,
)

from animate.config.schema import load_schema
from animate.config.settings import complete_config, config_mistakes
from animate.config.table import read_table

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
PROMPTS = f"{RESULTS}/.prompts/{CONFIG['model']}"

if not CLIPS and not TABLE.row_mistakes:
    logger.warning(
        f"{CONFIG['clips']} has no clips yet: add rows, see config/README.md"
    )
if CONFIG["model"] == "tiny":
    logger.warning("The tiny model has random weights: its videos are noise by design.")


wildcard_constraints:
    clip="[A-Za-z0-9][A-Za-z0-9._-]*",


def finished_clips(wildcards):
    refuse_impossible_clips()
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


def quick(function):
    """Keep a function's parameters, which Snakemake looks up with each of its many calls."""
    overwrite_function_params(function, get_function_params(function))
    return function


def if_any(uses, function):
    """Return an input function, or no input when no clip uses it: each call takes its time."""
    return quick(function) if any(map(uses, CLIPS.values())) else []


def settings(*names):
    """Return a params function: the JSON text of just these settings of the clip."""

    @quick
    def of_clip(wildcards):
        resolved = clip_of(wildcards).settings
        return json.dumps({name: resolved[name] for name in names}, ensure_ascii=False)

    return of_clip


@quick
def driving_video(wildcards):
    return clip_of(wildcards).video


@quick
def reference_image(wildcards):
    return clip_of(wildcards).reference


def replaces(wildcards):
    return clip_of(wildcards).mode == "replace"


@quick
def frame_shape_image(wildcards):
    """Animation takes the shape of the reference image, replacement that of the driving video."""
    return [] if replaces(wildcards) else f"{RESULTS}/{wildcards.clip}/src_ref.png"


def replacement_input(name):
    """Return an input function: a file of the clip that only replacement has."""

    def of_clip(wildcards):
        return f"{RESULTS}/{wildcards.clip}/{name}" if replaces(wildcards) else []

    return if_any(lambda clip: clip.mode == "replace", of_clip)


def retarget_input(name):
    """Return an input function: a file of the clip that only retargeting reads."""

    def retargets(clip):
        return clip.settings["retarget"] != "none" and clip.mode != "replace"

    def of_clip(wildcards):
        used = retargets(clip_of(wildcards))
        return f"{RESULTS}/{wildcards.clip}/{name}" if used else []

    return if_any(retargets, of_clip)


def backend_weights(setting, backend, own=None):
    """Return an input function: the backend's weights, one's own or the sign that all are there."""

    def chooses(clip):
        return clip.settings[setting] == backend

    def of_clip(wildcards):
        clip = clip_of(wildcards)
        if not chooses(clip):
            return []
        downloaded = ancient(f"{CONFIG['models']}/preprocess/sources.json")
        return own and clip.settings[own] or downloaded

    return if_any(chooses, of_clip)


pose_weights = backend_weights("pose_backend", "vitpose")
mask_weights = backend_weights("mask_backend", "sam2", own="sam2_checkpoint")


def text_key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PROMPT_TEXTS = {
    text_key(text): text
    for clip in CLIPS.values()
    for text in (clip.settings["prompt"], clip.settings["negative_prompt"])
}


@quick
def prompt_embedding(wildcards):
    return f"{PROMPTS}/{text_key(clip_of(wildcards).settings['prompt'])}.safetensors"


def is_guided(clip):
    return clip.settings["guidance_scale"] > 1


def negative_prompt_embedding(wildcards):
    clip = clip_of(wildcards)
    if not is_guided(clip):
        return []
    return f"{PROMPTS}/{text_key(clip.settings['negative_prompt'])}.safetensors"


def has_loras(clip):
    return bool(clip.settings["loras"])


def own_loras(wildcards):
    loras = clip_of(wildcards).settings["loras"]
    own = [lora["path"] for lora in loras if "repo" not in lora]
    settings = {
        os.path.join(os.path.dirname(path), "adapter_config.json") for path in own
    }
    return own + sorted(filter(os.path.exists, settings))


SAMPLING_SETTINGS = (
    "segment_frames",
    "steps",
    "guidance_scale",
    "conditioning_frames",
    "shift",
    "solver",
    "seed",
    "relighting_lora",
    "loras",
    "color_match",
    "precision",
    "vae_precision",
)
SAMPLING_INPUTS = (
    "pose",
    "face",
    "reference",
    "background",
    "mask",
    "prompt",
    "negative_prompt",
)


@quick
def sampler_job(wildcards, input, output):
    """Return the settings file of sample.py as JSON text."""
    clip = clip_of(wildcards)
    job = {
        "clip": clip.name,
        "mode": clip.mode,
        "model": MODEL,
        "inputs": {
            role: str(input[role]) for role in SAMPLING_INPUTS if input.get(role)
        },
        "output": str(output.video),
        "record": str(output.record),
        "journal": f"{RESULTS}/{clip.name}/.journal",
        "progress": f"{LOGS}/sample/{clip.name}.log",
        "settings": {name: clip.settings[name] for name in SAMPLING_SETTINGS},
    }
    return json.dumps(job, ensure_ascii=False)
