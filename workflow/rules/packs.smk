"""Samplers of like clips that are submitted together; one is loaded once, and has them in turn."""

import math

from snakemake.settings.types import DeploymentMethod

from animate.serving.loaded import loaded_settings
from animate.watch.packing import Packing, go_on_after_failures

PACKS = SITE.clips_per_job > 1 and SUBMITS
# Snakemake itself knows its targets only once it has read the rules.
TARGETS = [word for word in sys.argv if re.match(r"\w*sample:clip=", word)]
IN_PACK = workflow.remote_exec and len(TARGETS) > 1


@functools.cache
def likeness(name):
    """Return what clips have in common that one job can sample, None for a clip on several nodes."""
    clip = CLIPS[name]
    gpus = REQUESTS.gpus_of_clip(clip)
    loaded = loaded_settings(clip.mode, clip.settings.sampling(CONFIG.models))
    common = [gpus, clip.model.name, loaded]
    return None if REQUESTS.nodes(gpus) > 1 else json.dumps(common)


def alike(job):
    samples = job.rule.name.endswith("sample")
    return likeness(job.wildcards.clip) if samples else None


@functools.cache
def places():
    return {name: number for number, name in enumerate(CLIPS)}


def place(job):
    return places()[job.wildcards.clip]


def minutes_of(jobs, attempt):
    """Return the time limit of clips that one job samples; a user's own limits are added up."""
    own = workflow.resource_settings.overwrite_resources.get(jobs[0].rule.name, {})
    if "runtime" in own:
        return sum(job.resources.runtime for job in jobs)
    works = [work_of(job.wildcards) for job in jobs]
    gpus = REQUESTS.gpus_of(jobs[0].wildcards)
    model = clip_of(jobs[0].wildcards).model.name
    return amounts.series_minutes(works, gpus, SITE, model, attempt, stays_loaded())


def stays_loaded():
    """Tell whether ranks outlive a clip: where they are started in a container, they do not."""
    methods = workflow.deployment_settings.deployment_method
    return CONFIG.warm_seconds > 0 and DeploymentMethod.APPTAINER not in methods


def clips_in_a_row(wildcards):
    """Return how many like clips are sampled with one load of the model."""
    if not stays_loaded():
        return 1
    return SITE.clips_per_job if SUBMITS else math.inf


def pack_samplers():
    # What was submitted together is so again for the step that SLURM starts in the job.
    limits = (
        (math.inf, math.inf)
        if workflow.remote_exec
        else (SITE.clips_per_job, SITE.max_minutes)
    )
    most, longest = limits
    Packing(alike, place, most, minutes_of, longest).install()


if PACKS:
    pack_samplers()
if IN_PACK:
    workflow.register_resource("samplers", 1)
    go_on_after_failures()
