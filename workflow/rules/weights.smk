"""Which weights the clips need, where they are declared, and the files that tell they are there."""

import shlex

from animate.errors import ClipError
from animate.hub.access import access_problem
from animate.hub.declared.declaration import (
    EDITOR,
    ONE_FILE,
    editor_problem,
    hub_loras,
    read_declaration,
    transformer_part,
    with_loras,
)
from animate.weights.kinds import named_kind
from animate.weights.transformer_file.glance import fault_at_a_glance

MODELS = CONFIG.models
# A workflow that uses this one as a module may leave the declaration as it is.
MODELS_FILE = "config/models.yaml"
if not os.path.exists(MODELS_FILE):
    MODELS_FILE = str(WORKFLOW / MODELS_FILE)
LOCK_FILE = "config/models.lock.yaml"

try:
    DECLARATION = with_loras(
        read_declaration(Path(MODELS_FILE)), hub_loras(CLIPS.values())
    )
except ClipError as error:
    refuse([str(error)])


def parts_of(model, clips):
    """Return the parts of a model that all clips need, or one of these."""
    declared = DECLARATION.models.get(model)
    return declared.needed_parts(clips) if declared else {}


def transformer_problem(clip):
    """Return what is wrong with a clip's `transformer_file`, "" when nothing is to be seen."""
    try:
        transformer_part(DECLARATION, clip)
        own = clip.settings.own_transformer
        fault = own and fault_at_a_glance(Path(own), named_kind(clip.model.kind))
        return f"{own} {fault}" if fault else ""
    except (ClipError, OSError) as error:
        return str(error)


def refuse_unknown_transformers():
    """Treat a `transformer_file` that is none, or is not declared, as a mistake of the table."""
    for clip in list(CLIPS.values()):
        problem = transformer_problem(clip)
        # Of several seeds, the first refuses the row.
        if problem and clip.name in CLIPS:
            TABLE.refuse(clip, "transformer_file", problem)


refuse_unknown_transformers()


def folder_anchor(name):
    """Return the file that appears when a model's folder is complete."""
    declared = DECLARATION.models.get(name)
    files_only = declared and declared.layout in ("files", ONE_FILE)
    return f"{MODELS}/{name}/{'sources' if files_only else 'model_index'}.json"


def editor_parts(clip):
    """Return the parts of the picture editor that a clip has fetched."""
    own = not clip.edits or clip.settings.own_editor
    return {} if own else parts_of(clip.settings.retarget_model, [clip])


def editor_fault(clip):
    """Return why a clip's picture editor cannot be had, "" when nothing speaks against it."""
    problem = editor_problem(DECLARATION, clip)
    if problem or os.path.exists(folder_anchor(clip.settings.retarget_model)):
        return problem
    parts = editor_parts(clip).values()
    return next(filter(None, (access_problem(DECLARATION, part) for part in parts)), "")


def refuse_editors():
    """Treat a picture editor that is unknown, or closed to the user, as a mistake of the table."""
    for clip in list(CLIPS.values()):
        problem = editor_fault(clip) if clip.edits and clip.name in CLIPS else ""
        if problem:
            TABLE.refuse(clip, "retarget_model", problem)


# The token may be on the login node alone: a job has the clips that were planned.
if workflow.is_main_process:
    refuse_editors()

EDITOR_PARTS = {
    clip.settings.retarget_model: editor_parts(clip)
    for clip in CLIPS.values()
    if clip.edits and not clip.settings.own_editor
}
for terms in {part.terms for parts in EDITOR_PARTS.values() for part in parts.values()}:
    if terms and workflow.is_main_process:
        logger.warning(f"retarget flux: {terms}")

# The generation models, the preprocessing backends that the clips choose, their picture editors and
# their LoRAs.
NEEDED_MODELS = (ONE_FILE, "preprocess", *EDITOR_PARTS)
NEEDED_PARTS = {name: parts_of(name, clips_of_model(name)) for name in MODELS_USED}
for needed in (*NEEDED_MODELS, *hub_loras(CLIPS.values())):
    NEEDED_PARTS[needed] = parts_of(needed, CLIPS.values())
NEEDED_PARTS = {name: parts for name, parts in NEEDED_PARTS.items() if parts}
MODEL_OPTIONS = shlex.join(
    ["--declaration", MODELS_FILE, "--lock-file", LOCK_FILE, "--models", MODELS]
)


def need_text(name, parts):
    return f"{name}:{','.join(parts)}"


NEEDS = [need_text(name, parts) for name, parts in NEEDED_PARTS.items()]


def needs_of_model(wildcards, output):
    """Return what to fetch. A function of `output` is no reason for Snakemake to run a job again."""
    return [need for need in NEEDS if need.startswith(f"{wildcards.model}:")]


def force_option(wildcards, output):
    """Fetch again on `download --forceall`; on other targets --forceall means the clips."""
    chosen = workflow.dag_settings
    forced = chosen.forceall and set(chosen.targets) == {"download"}
    return "--force" if forced else ""


def one_of(*layouts):
    """Return the wildcard pattern of the declared models with these layouts."""
    models = DECLARATION.models.items()
    names = [re.escape(name) for name, model in models if model.layout in layouts]
    return "|".join(names) or "(?!)"


BACKENDS_DOWNLOADED = ancient(folder_anchor("preprocess"))


def model_index(name):
    """Return the file that tells that a model is there.

    Snakemake looks at no other reason to run a job below one that runs: files that are fetched
    again must not hide changed settings, nor run anything themselves. Converted ones are really new.
    """
    anchor = folder_anchor(name)
    converted = any(part.convert for part in NEEDED_PARTS.get(name, {}).values())
    return anchor if converted else ancient(anchor)


def index_of_wildcard(wildcards):
    return model_index(wildcards.model)


def index_of_clip(wildcards):
    return model_index(clip_of(wildcards).model.name)
