"""Which weights the clips need, where they are declared, and what pins them."""

import shlex
from functools import cache

from animate.errors import ClipError
from animate.hub.declaration import read_declaration
from animate.hub.lock import read_lock

MODELS = CONFIG["models"]
# A workflow that uses this one as a module may leave the declaration as it is.
MODELS_FILE = "config/models.yaml"
if not os.path.exists(MODELS_FILE):
    MODELS_FILE = str(WORKFLOW / MODELS_FILE)
LOCK_FILE = "config/models.lock.yaml"

try:
    DECLARATION = read_declaration(Path(MODELS_FILE))
except ClipError as error:
    refuse([str(error)])

# The generation model, and the weights of the preprocessing backends that the clips choose.
NEEDED_PARTS = {
    name: parts
    for name in (CONFIG["model"], "preprocess")
    if name in DECLARATION.models
    and (parts := DECLARATION.models[name].needed_parts(CLIPS.values()))
}
MODEL_OPTIONS = shlex.join(
    ["--declaration", MODELS_FILE, "--lock-file", LOCK_FILE, "--models", MODELS]
)
USERS_OF_WEIGHTS = {"prompt", "sample", "keypoints", "person_mask"}


def need_text(name, parts):
    return f"{name}:{','.join(part.name for part in parts)}"


NEEDS = [need_text(name, parts) for name, parts in NEEDED_PARTS.items()]


def folder_anchor(name):
    """Return the file that appears when a model's folder is complete."""
    files_only = (
        name in DECLARATION.models and DECLARATION.models[name].layout == "files"
    )
    return f"{MODELS}/{name}/{'sources' if files_only else 'model_index'}.json"


# Snakemake looks at no other reason to run a job below one that runs: files that are fetched again
# must not hide changed settings, nor run anything themselves. Converted ones are really new.
MODEL_INDEX = folder_anchor(CONFIG["model"])
if not any(part.convert for part in NEEDED_PARTS.get(CONFIG["model"], [])):
    MODEL_INDEX = ancient(MODEL_INDEX)


def one_of(*layouts):
    """Return the wildcard pattern of the declared models with these layouts."""
    models = DECLARATION.models.values()
    names = [re.escape(m.name) for m in models if m.layout in layouts]
    return "|".join(names) or "(?!)"


def model_needs(wildcards, output):
    """Return what to fetch; a function of `output`, so that other needs run nothing by themselves."""
    return [need for need in NEEDS if need.startswith(f"{wildcards.model}:")]


def force_option(wildcards, output):
    """Fetch again on `download --forceall`; on other targets --forceall means the clips."""
    forced = workflow.dag_settings.forceall
    return (
        "--force"
        if forced and set(workflow.dag_settings.targets) == {"download"}
        else ""
    )


def lock_input(wildcards):
    return [LOCK_FILE] if os.path.exists(LOCK_FILE) else []


@cache
def lock_as_of(changed):
    return read_lock(Path(LOCK_FILE))


@quick
def weights_revision(wildcards):
    """Run again when other weights are pinned, not when the same ones are fetched again."""
    lock = lock_as_of(os.stat(LOCK_FILE).st_mtime_ns if lock_input(wildcards) else None)
    model = DECLARATION.models.get(CONFIG["model"])
    clips = [clip_of(wildcards)] if hasattr(wildcards, "clip") else []
    parts = model.needed_parts(clips) if model else []
    repositories = [DECLARATION.repositories[part.repository] for part in parts]
    return [
        str(repository.path or repository.name in lock and lock[repository.name].commit)
        for repository in repositories
    ]


def restore_weights():
    """Before jobs that need weights: check the headers, fetch what vanished from the cache."""
    jobs = list(workflow.dag.needrun_jobs())
    made = {str(file) for job in jobs for file in job.output}
    if not any(job.rule.name in USERS_OF_WEIGHTS for job in jobs):
        return
    for name, parts in NEEDED_PARTS.items():
        if f"{MODELS}/{name}/sources.json" not in made:
            # What was converted is no longer read.
            need = need_text(name, [part for part in parts if not part.convert])
            log = f"{LOGS}/restore/{name}.log"
            shell(
                'python "$SCRIPTS"/download_model.py {MODEL_OPTIONS} --needs {need:q} --log {log:q}'
            )
