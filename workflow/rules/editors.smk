"""Which picture editors the clips use, where they lie, and what their jobs depend on."""

# As they stand beside a clip's other files.
EDITED_PICTURES = [f"{CLIP}/retarget_reference.png", f"{CLIP}/retarget_driver.png"]


def editor_folder(clip):
    return clip.settings.own_editor or f"{MODELS}/{clip.settings.retarget_model}"


def editor_key(clip):
    return text_key(editor_folder(clip))


EDITORS = {editor_key(clip): clip for clip in CLIPS.values() if clip.edits}


def index_of(clip):
    """Return the file that tells that a clip's editor is there."""
    if own := clip.settings.own_editor:
        return os.path.join(own, "model_index.json")
    return ancient(folder_anchor(clip.settings.retarget_model))


def editor_index(wildcards):
    return index_of(clip_of(wildcards))


def editor_prompts(wildcards):
    return f"{RESULTS}/.prompts/editors/{editor_key(clip_of(wildcards))}.safetensors"


def editor_content_of(clip):
    """Return what the weights of a clip's editor are."""
    name = clip.settings.retarget_model
    if clip.settings.own_editor:
        return [name]
    return pinned_content(name, parts_of(name, [clip]))


def edit_params():
    """Return what both edits of a clip depend on, their inputs apart."""
    return {
        "settings": settings(EditSettings),
        "model": lambda wildcards: editor_folder(clip_of(wildcards)),
        "weights": lambda wildcards: editor_content_of(clip_of(wildcards)),
        "version": 2,
    }
