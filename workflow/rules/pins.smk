"""What the pinned weights are, as params: other contents run again what they feed."""

from functools import cache

from animate.demo.shipped import trained_content
from animate.hub.declared.lock import part_content, part_sizes, read_lock


@cache
def content_as_of(changed, parts):
    lock = read_lock(Path(LOCK_FILE))
    models = DECLARATION.models
    return [
        part_content(DECLARATION, lock, models[model].parts[name])
        for model, name in parts
    ]


def pinned_content(model, parts):
    """Return a param: what the weights of a model's parts are. Other contents run a job again."""
    if model == "demo":
        return list(trained_content())
    if not parts:
        return []
    names = tuple((model, name) for name in parts)
    found = content_as_of(lock_time(), names)
    if not all(found) and records_params():
        pin_now(parts)
        found = content_as_of(lock_time(), names)
    return found


def lock_time():
    return os.stat(LOCK_FILE).st_mtime_ns if os.path.exists(LOCK_FILE) else None


def records_params():
    """Whether Snakemake notes with which params a job ran: not in a dry run, nor in a SLURM job."""
    runs = workflow.executor_plugin is not None and not workflow.dryrun
    return runs and workflow.is_main_process


def pin_now(parts):
    try:
        # The hub's library takes half a second, and may not be installed.
        from animate.hub.pin import pin

        for name in pin(DECLARATION, Path(LOCK_FILE), parts.values()):
            logger.info(f"pinned {name} in {LOCK_FILE}")
    except ImportError:
        refuse(
            ["the weights are not pinned yet: run snakemake update_models once before"]
        )
    except ClipError as error:
        refuse([str(error)])


def model_content(wildcards):
    """Return what a model's weights are that no clip has to ask for."""
    return pinned_content(wildcards.model, parts_of(wildcards.model, []))


def content_of_clip_model(wildcards):
    """Return the same of a clip's model."""
    name = clip_of(wildcards).model.name
    return pinned_content(name, parts_of(name, []))


def transformer_content(wildcards):
    """Return what the weights of a model's own transformer are, and all that comes with it."""
    name = wildcards.model
    clips = [
        clip for clip in clips_of_model(name) if not clip.settings.transformer_file
    ]
    parts = parts_of(name, clips)
    return pinned_content(
        name,
        {n: p for n, p in parts.items() if p.when.keys() <= {"transformer_file"}},
    )


def sampler_content(wildcards):
    """Return what the weights are that a clip is sampled with: the model's, and its LoRAs'."""
    clip = clip_of(wildcards)
    found = pinned_content(clip.model.name, parts_of(clip.model.name, [clip]))
    found = found + pinned_content(ONE_FILE, parts_of(ONE_FILE, [clip]))
    for name, files in hub_loras([clip]).items():
        parts = parts_of(name, [clip])
        found = found + pinned_content(name, {file: parts[file] for file in files})
    return found


def backend_content(setting):
    """Return a params function: what the weights are of the backend that a clip's setting names."""

    def of_clip(wildcards):
        parts = parts_of("preprocess", [clip_of(wildcards)])
        return pinned_content(
            "preprocess", {n: p for n, p in parts.items() if setting in p.when}
        )

    return of_clip


@cache
def sizes_as_of(changed, model, names):
    lock = read_lock(Path(LOCK_FILE))
    found = {}
    for name in names:
        part = DECLARATION.models[model].parts[name]
        found |= part_sizes(DECLARATION, lock, part)
    return found


def detector_files(setting, clip):
    """Return the bytes of the files of the detector, or editor, that a clip's setting names."""
    if setting == "retarget":
        return editor_files(clip)
    own = clip.settings.sam2_checkpoint if setting == "mask_backend" else ""
    if own:
        return {own: os.path.getsize(own)}
    parts = parts_of("preprocess", [clip])
    return sizes_as_of(
        lock_time(),
        "preprocess",
        tuple(n for n, part in parts.items() if setting in part.when),
    )


def editor_files(clip):
    if own := clip.settings.own_editor:
        # Each part of a pipeline is a folder; beside them may lie one file of all weights.
        files = Path(own).glob("*/*.safetensors")
        return {str(file): file.stat().st_size for file in files}
    name = clip.settings.retarget_model
    return sizes_as_of(lock_time(), name, tuple(editor_parts(clip)))


def converted_content(wildcards):
    parts = NEEDED_PARTS.get(wildcards.model, {})
    return pinned_content(
        wildcards.model, {n: p for n, p in parts.items() if p.convert}
    )
