"""What every job asks of a cluster: the site, what this run does there, and the jobs' resources."""

import functools
import signal

from animate.cluster.nodes import ask_nodes, most_memory
from animate.cluster.requests import amounts
from animate.cluster.requests.detectors import Detectors
from animate.cluster.requests.gpus import AUTO, auto_gpus, why_never
from animate.cluster.requests.resources import Requests
from animate.cluster.site import Site
from animate.cluster.work import clip_work

SITE = Site.of(CONFIG)
LOGIN_NODE_DOWNLOADS = SITE.network == "login"
AUTO_CLIPS = sum(clip.settings.gpus == AUTO for clip in CLIPS.values())
# A run that submits jobs sets `jobs`. In another, Snakemake would call these functions for nothing.
SUBMITS = workflow.remote_exec or workflow.resource_settings.nodes is not None

if workflow.remote_exec:
    # SLURM's warning is for the sampler; the Snakemake around it has to outlive it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


if SUBMITS and not workflow.remote_exec and "gpu" not in workflow.global_resources:
    # Snakemake holds back the clips that would take more.
    workflow.register_resource("gpu", SITE.max_gpus)

# By which resource Snakemake counts a job's GPUs: of `gpu`, the SLURM plugin makes a flag.
GPUS = "gpu" if SITE.plugin_asks or not SUBMITS else "gpus_held"
if GPUS != "gpu" and not workflow.remote_exec:
    workflow.register_resource(GPUS, workflow.global_resources.get("gpu").value)


def in_slurm_job():
    """Tell whether this is a job of SLURM; on other clusters a job has one node, and its GPUs."""
    return workflow.remote_exec and "SLURM_JOB_ID" in os.environ


def submits_to_slurm():
    return workflow.executor_plugin.name == "slurm"


@functools.cache
def cluster_nodes():
    return ask_nodes() if SITE.check_nodes and submits_to_slurm() else []


@functools.cache
def largest_memory():
    """Return the MB of the largest node that can sample, of which no attempt may ask for more."""
    submits = SUBMITS and not workflow.remote_exec
    return most_memory(SITE, cluster_nodes()) if submits else None


@functools.cache
def why_never_with(gpus, model, keys_mb):
    """Look each number of GPUs up once: Snakemake calls input functions again and again."""
    several = submits_to_slurm()
    return why_never(gpus, SITE, model, cluster_nodes(), several, keys_mb)


def refuse_impossible_clips():
    """Treat clips that no node of the cluster can run as mistakes of the table."""
    if workflow.local_exec:
        return
    for clip in list(CLIPS.values()):
        gpus, model = REQUESTS.gpus_of_clip(clip), clip.model.name
        keys = 0 if clip.model.posed else driving_keys_of(clip, gpus)
        if problem := why_never_with(gpus, model, keys):
            TABLE.refuse(clip, "gpus", problem)


def driving_keys_of(clip, gpus):
    """Return the MB of host memory that a clip keeps of its driving video."""
    work = clip_work(clip, RESULTS)
    return amounts.driving_keys_mb(work, gpus, SITE, clip.model.name)


def most_mb_of(memory):
    """Return what the models of the clips ask for at most, of a job that belongs to one of them."""
    return max(map(memory, MODELS_USED))


def work_of(wildcards):
    return clip_work(clip_of(wildcards), RESULTS)


def gpus_of_auto_clips():
    if given := workflow.remote_exec and os.environ.get("SLURM_GPUS_ON_NODE"):
        # Rows may have been added since the job was submitted.
        return int(given)
    if workflow.local_exec and not workflow.remote_exec:
        # A workstation is one node.
        available = workflow.global_resources.get("gpu").value or 1
        return auto_gpus(available, available, AUTO_CLIPS)
    return auto_gpus(SITE.max_gpus, SITE.gpus_per_node, AUTO_CLIPS)


REQUESTS = Requests(
    site=SITE,
    submitted=SUBMITS,
    counted=GPUS,
    detectors=Detectors.of_clips(
        CLIPS.values(), CONFIG.detectors, CONFIG.device, SUBMITS
    ),
    clips=CLIPS,
    clip_of=clip_of,
    work_of=work_of,
    auto_gpus=gpus_of_auto_clips,
    most_mb=largest_memory,
    detector_bytes=detector_files,
)
cpu_job, gpu_job, detector_job = (
    REQUESTS.cpu_job,
    REQUESTS.gpu_job,
    REQUESTS.detector_job,
)
submission = REQUESTS.submission
