"""Which weights the jobs of a clip read: of its backends, and of its LoRAs."""

# The record stands among the results, not beside the copy, so that finished clips stay finished when
# the copy is removed. Small models need no copy.
PREPARED = f"{RESULTS}/.prepared/{{model}}{{precision}}.json"


def backend_weights(setting, backend, own=None):
    """Return an input function: the backend's weights, one's own or the sign that all are there."""

    def of_clip(wildcards):
        chosen = clip_of(wildcards).settings
        if getattr(chosen, setting) != backend:
            return []
        return own and getattr(chosen, own) or BACKENDS_DOWNLOADED

    return of_clip


def own_loras(wildcards):
    loras = clip_of(wildcards).settings.all_loras
    own = [lora.path for lora in loras if lora.path]
    settings = {
        os.path.join(os.path.dirname(path), "adapter_config.json") for path in own
    }
    return own + sorted(filter(os.path.exists, settings))


def transformer_path(clip):
    """Return where the one file with a clip's transformer is, "" where it has none."""
    part = transformer_part(DECLARATION, clip)
    return f"{MODELS}/{ONE_FILE}/{part[1]}" if part else clip.settings.own_transformer


def prepared_copy(clip):
    """Return the sign that the copy which a clip reads of the model's own transformer is made."""
    if clip.model.small:
        return []
    # LoRAs are merged before anything is rounded to fp8.
    in_fp8 = clip.settings.precision == "fp8" and not merges_loras(clip)
    return ancient(
        PREPARED.format(model=clip.model.name, precision=".fp8" if in_fp8 else "")
    )


def transformer_inputs(wildcards):
    """Return what a clip waits for before its transformer can be read, the model's index apart."""
    clip = clip_of(wildcards)
    if not clip.settings.transformer_file:
        return prepared_copy(clip)
    return clip.settings.own_transformer or ancient(folder_anchor(ONE_FILE))


def merges_loras(clip):
    """Tell whether LoRAs are merged for a clip, where the model has the relighting one."""
    relit = clip.settings.relighting_lora
    relit = clip.mode == "replace" if relit == "auto" else relit
    relit = relit and "relighting_lora" not in clip.unread
    return bool(relit or clip.settings.all_loras)


def hub_lora_anchors(wildcards):
    # The links may dangle once their clips are finished.
    return [ancient(folder_anchor(name)) for name in hub_loras([clip_of(wildcards)])]


def parts_beside_model(clip):
    """Return the parts that a clip uses of other folders than the model's, by the anchor."""
    used = hub_loras([clip])
    for name in (ONE_FILE, "preprocess"):
        used[name] = list(parts_of(name, [clip]))
    used |= {clip.settings.retarget_model: list(editor_parts(clip))}
    return {folder_anchor(name): parts for name, parts in used.items() if parts}


def anchors_beside_model(wildcards):
    return [ancient(anchor) for anchor in parts_beside_model(clip_of(wildcards))]


def text_of_parts_beside_model(wildcards):
    return json.dumps(parts_beside_model(clip_of(wildcards)))
