"""Clips that take another clip's result as their driving video."""

from animate.config.fields import parse_area


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
