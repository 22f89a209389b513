"""What no single value shows: unknown presets, settings that do not fit, settings nobody reads."""

from collections.abc import Iterable, Iterator
from typing import Any

from animate.config.configuration import Configuration, stated
from animate.config.fields import extra_of
from animate.config.mistakes import Mistake, find_mistakes, nearest_name
from animate.config.models.known import MODELS
from animate.config.resolve import preset_names
from animate.config.sbatch import flags_problem, plugin_takes
from animate.config.settings import ClipSettings


def config_mistakes(config: dict[str, Any]) -> list[Mistake]:
    """Return every mistake of a configuration, unknown presets included."""
    mistakes = find_mistakes(Configuration, stated(config))
    preset = (config.get("defaults") or {}).get("preset")
    if isinstance(preset, str):
        mistakes += preset_mistakes(preset, config.get("presets") or (), "defaults.preset")
    if isinstance(config.get("cluster"), dict):
        mistakes += cluster_mistakes(config["cluster"])
    for name, group in (config.get("presets") or {}).items():
        if isinstance(group, dict) and "preset" in group:
            mistakes.append(Mistake(f"presets.{name}.preset", "a preset cannot name a preset"))
    return mistakes


def cluster_mistakes(cluster: dict[str, Any]) -> list[Mistake]:
    """Return the mistakes of a cluster's flags, and of a GPU type that no flag can name."""
    texts = {key: cluster.get(key) for key in ("extra", "gpu_extra")}
    found = {key: flags_problem(text) for key, text in texts.items() if isinstance(text, str)}
    kind = cluster.get("gpu_model")
    if cluster.get("gres") is True and isinstance(kind, str) and not plugin_takes(kind):
        found["gpu_model"] = (
            f"Snakemake's SLURM plugin takes no '{kind}' for --gres: leave gres out, or leave"
            " gpu_model empty and choose the GPUs by gpu_partition or gpu_constraint"
        )
    return [Mistake(f"cluster.{key}", problem) for key, problem in found.items() if problem]


def preset_mistakes(preset: str, presets: Iterable[str], key: str = "preset") -> list[Mistake]:
    """Return the mistake of naming a preset that neither the config nor a model has.

    `presets` are the names of the config's own.
    """
    known = preset_names(presets)
    if preset in known:
        return []
    problem = f"'{preset}' is no preset; {nearest_name(preset, known)}"
    return [Mistake(key, problem)]


def combination_mistakes(settings: ClipSettings) -> list[Mistake]:
    """Return the mistakes of values that do not fit together."""
    mistakes = []
    if settings.conditioning_frames >= settings.segment_frames:
        problem = "must be fewer than segment_frames, or no segment makes progress"
        mistakes.append(Mistake("conditioning_frames", problem))
    if settings.overlap_blend > settings.conditioning_frames:
        problem = (
            f"must be at most conditioning_frames, {settings.conditioning_frames}: no other frames"
            " are there twice"
        )
        mistakes.append(Mistake("overlap_blend", problem))
    start, end = settings.start or 0, settings.end
    if end is not None and end <= start:
        mistakes.append(Mistake("end", f"{end:g} s is not after the start at {start:g} s"))
    if end is not None and settings.prompts and settings.prompts[-1][0] >= end:
        problem = f"{settings.prompts[-1][0]:g} s is not before the clip's end at {end:g} s"
        mistakes.append(Mistake("prompts", problem))
    return mistakes


def model_mistakes(settings: ClipSettings, mode: str) -> list[Mistake]:
    """Return the mistakes of a clip whose model cannot do what its settings or its mode ask."""
    model, mistakes = MODELS[settings.model], []
    if mode not in model.modes:
        others = ", ".join(other.name for other in MODELS.values() if mode in other.modes)
        problem = f"model {model.name} has no mode {mode}; set mode to {' or '.join(model.modes)}"
        mistakes.append(Mistake("mode", f"{problem}, or model to one of {others}"))
    if settings.transformer_file and not model.one_file:
        problem = f"cannot be used with model {model.name}; set model to wan2.2-animate-14b"
        mistakes.append(Mistake("transformer_file", problem))
    if settings.attention == "8bit" and model.small:
        problem = f"8bit cannot be used with model {model.name}, whose heads are too small"
        mistakes.append(Mistake("attention", f"{problem}; set attention to exact"))
    stated = "prompt" in settings.model_fields_set or settings.first_prompt != settings.prompt
    if model.prompt_form and not stated:
        problem = f"missing; model {model.name} needs a description of the reference, in the form"
        mistakes.append(Mistake("prompt", f"{problem} {model.prompt_form}"))
    return mistakes


def ignored_settings(stated: Iterable[str], settings: ClipSettings, mode: str) -> Iterator[str]:
    """Yield those of the settings that a row states which its clip does not read, and why."""
    guidance = "above 1" if settings.guided else "1"
    values = {**dict(settings), "mode": mode, "guidance_scale": guidance}
    if "prompt" in stated and settings.first_prompt != settings.prompt:
        yield "'prompt', which is not read as 'prompts' begin where the clip does"
    for name in stated:
        needed = extra_of(ClipSettings.model_fields[name], "used_with") or {}
        for other, value in needed.items():
            if values[other] != value:
                yield f"'{name}', which is read with {other} {value} only"
                break
