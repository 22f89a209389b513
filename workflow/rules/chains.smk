"""Clips that take another clip's result as their driving video, or go on from its last frames."""

from animate.config.fields import parse_area


def before(file, needed=None):
    """Return an input function: a file of the clip from whose last frames this one goes on."""

    def of_clip(wildcards):
        other = clip_of(wildcards).continued
        if other is None or (needed and not needed(wildcards)):
            return []
        return f"{RESULTS}/{other.name}/{file}"

    return of_clip


def last_frames(wildcards):
    """Return the frames that a clip goes on from, nothing for one that begins anew."""
    goes_on = clip_of(wildcards).continued is not None
    return f"{RESULTS}/{wildcards.clip}/before.safetensors" if goes_on else []


def clip_before(wildcards, output):
    """Return the clip that this one goes on from; the input says already when it changes."""
    other = clip_of(wildcards).continued
    return other.name if other else ""


def frames_before(wildcards, output):
    """Return how many frames a clip goes on from; they are compared with those that there are."""
    clip = clip_of(wildcards)
    return clip.settings.conditioning_frames if clip.continued else ""


def size_option(wildcards, output):
    """Keep the size of another clip's frames where both have one area: nothing is scaled twice.

    A function of `output` is no reason to run again; what it depends on is one already.
    """
    clip = clip_of(wildcards)
    areas = {
        parse_area(one.settings.resolution_area) for one in (clip, clip.source) if one
    }
    kept = clip.source and len(areas) == 1
    return "--keep-size" if kept and replaces(wildcards) else ""


def source_of(wildcards, output):
    """Return the clip whose result is the driving video; the input says already when it changes."""
    source = clip_of(wildcards).source
    return source.name if source else ""


def sound_source(wildcards):
    """Return the file whose sound a clip gets; one that takes another's frames gets its sound."""
    clip = clip_of(wildcards)
    name = clip.source and clip.source.name
    return f"{RESULTS}/{name}/{name}.mp4" if name else clip.video
