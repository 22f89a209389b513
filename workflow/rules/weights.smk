"""Which weights the clips need, where they are declared, and what pins them."""

import shlex
from functools import cache
from importlib.util import find_spec

from animate.errors import ClipError
from animate.hub.declaration import read_declaration
from animate.hub.lock import read_lock
from animate.hub.loras import hub_loras, with_loras

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

# The generation model, the preprocessing backends that the clips choose, and their LoRAs.
NEEDED_PARTS = {
    name: parts
    for name in (CONFIG.model, "preprocess", *hub_loras(CLIPS.values()))
    if name in DECLARATION.models
    and (parts := DECLARATION.models[name].needed_parts(CLIPS.values()))
}
MODEL_OPTIONS = shlex.join(
    ["--declaration", MODELS_FILE, "--lock-file", LOCK_FILE, "--models", MODELS]
)
USERS_OF_WEIGHTS = {"prepare", "prompt", "sample", "keypoints", "person_mask"}


def need_text(name, parts):
    return f"{name}:{','.join(part.name for part in parts)}"


NEEDS = [need_text(name, parts) for name, parts in NEEDED_PARTS.items()]


def folder_anchor(name):
    """Return the file that appears when a model's folder is complete."""
    files_only = (
        name in DECLARATION.models and DECLARATION.models[name].layout == "files"
    )
    return f"{MODELS}/{name}/{'sources' if files_only else 'model_index'}.json"


def parts_beside_model(clip):
    """Return the parts that a clip uses of other folders than the model's, by the anchor."""
    used = hub_loras([clip])
    if "preprocess" in NEEDED_PARTS:
        backends = DECLARATION.models["preprocess"].needed_parts([clip])
        used["preprocess"] = [part.name for part in backends]
    return {folder_anchor(name): parts for name, parts in used.items() if parts}


def anchors_beside_model(wildcards):
    return [ancient(anchor) for anchor in parts_beside_model(clip_of(wildcards))]


@quick
def text_of_parts_beside_model(wildcards):
    return json.dumps(parts_beside_model(clip_of(wildcards)))


def hub_lora_anchors(wildcards):
    # The links may dangle once their clips are finished.
    return [ancient(folder_anchor(name)) for name in hub_loras([clip_of(wildcards)])]


# Snakemake looks at no other reason to run a job below one that runs: files that are fetched again
# must not hide changed settings, nor run anything themselves. Converted ones are really new.
MODEL_INDEX = folder_anchor(CONFIG.model)
if not any(part.convert for part in NEEDED_PARTS.get(CONFIG.model, [])):
    MODEL_INDEX = ancient(MODEL_INDEX)

# What was done stands among the results, not beside the copy: who removes the copy runs no finished
# clip again. The tiny model is not worth one.
PREPARED = f"{RESULTS}/.prepared/{{model}}.json"
PREPARED_MODEL = []
if CONFIG.model != "tiny":
    PREPARED_MODEL = ancient(PREPARED.format(model=CONFIG.model))


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


@cache
def lock_as_of(changed):
    return read_lock(Path(LOCK_FILE))


def revision_now(name):
    """Return the folder or the pinned commit of a repository; "False" before it is pinned."""
    path = DECLARATION.repositories[name].path
    changed = os.stat(LOCK_FILE).st_mtime_ns if os.path.exists(LOCK_FILE) else None
    lock = lock_as_of(changed)
    return str(path or name in lock and lock[name].commit)


class Pins(list):
    """Repositories, shown as their commits when Snakemake records them: after the job pinned."""

    def __repr__(self):
        return str([revision_now(name) for name in self])


def forget_earlier_params():
    """Keep Snakemake from recording what the pins were when it planned the run."""
    with contextlib.suppress(AttributeError):
        workflow.persistence._params.cache_clear()


def model_pins(wildcards):
    """Fetch again when other commits of the model's own repositories are pinned."""
    forget_earlier_params()
    parts = NEEDED_PARTS.get(wildcards.model, [])
    return Pins(sorted({part.repository for part in parts}))


@quick
def weights_revision(wildcards):
    """Run again when other weights are pinned, not when the same ones are fetched again."""
    forget_earlier_params()
    model = DECLARATION.models.get(CONFIG.model)
    clips = [clip_of(wildcards)] if hasattr(wildcards, "clip") else []
    parts = model.needed_parts(clips) if model else []
    loras = [DECLARATION.models[name].parts[0] for name in hub_loras(clips)]
    return [revision_now(part.repository) for part in (*parts, *loras)]


def restore_weights():
    """Before jobs that need weights: check the headers, fetch what vanished from the cache."""
    jobs = list(workflow.dag.needrun_jobs())
    made = {str(file) for job in jobs for file in job.output}
    if not any(job.rule.name in USERS_OF_WEIGHTS for job in jobs):
        return
    # With --sdm conda Snakemake itself may have none of the packages.
    if find_spec("huggingface_hub") is None:
        print("weights are not checked: run snakemake download", file=sys.stderr)
        return
    for name, parts in NEEDED_PARTS.items():
        if f"{MODELS}/{name}/sources.json" not in made:
            # What was converted is no longer read.
            need = need_text(name, [part for part in parts if not part.convert])
            log = f"{LOGS}/restore/{name}.log"
            shell(
                'python "$SCRIPTS"/download_model.py {MODEL_OPTIONS} --needs {need:q} --log {log:q}'
            )
