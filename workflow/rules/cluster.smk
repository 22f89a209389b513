"""What every job asks of a cluster, computed from its clip when it is submitted."""

import functools
import signal

from animate.cluster import jobs as asking
from animate.cluster.gpus import AUTO, auto_gpus, node_count, why_never
from animate.cluster.nodes import ask_nodes, most_memory
from animate.cluster.site import Site
from animate.cluster.work import clip_work
from animate.pose.detector_gpu import gpu_detectors

SITE = Site.of(CONFIG)
# Of the stages that look for a person, the setting that names the detector.
DETECTOR_SETTINGS = {
    "keypoints": "pose_backend",
    "reference_keypoints": "pose_backend",
    "person_mask": "mask_backend",
    "excluded_mask": "mask_backend",
    "edit_reference": "retarget",
    "edit_driver": "retarget",
    "edited_pose": "pose_backend",
}
# Files of the user's are checked before a detector takes a GPU.
GIVEN_FIRST = ("given_keypoints", "given_pose", "given_face", "given_mask")
# Those of the clips that have large weights.
LARGE_DETECTORS = {
    name
    for clip in CLIPS.values()
    for name in (
        clip.settings.pose_backend,
        clip.settings.mask_backend,
        *(["flux"] if clip.edits else []),
    )
} - {"mediapipe"}
# A group with them and the detectors before them would have to wait for itself.
LATE_DETECTORS = ("edit_reference", "edit_driver", "edited_pose")
LOGIN_NODE_DOWNLOADS = SITE.network == "login"
AUTO_CLIPS = sum(clip.settings.gpus == AUTO for clip in CLIPS.values())
# A run that submits jobs sets `jobs`. In another, Snakemake would call these functions for nothing.
SUBMITS = workflow.remote_exec or workflow.resource_settings.nodes is not None
GPU_DETECTORS = (
    gpu_detectors(LARGE_DETECTORS, CONFIG.detectors, CONFIG.device)
    if SUBMITS
    else set()
)

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
def why_never_with(gpus):
    """Look each number of GPUs up once: Snakemake calls input functions again and again."""
    several = submits_to_slurm()
    return why_never(gpus, SITE, CONFIG.model, cluster_nodes(), several)


def refuse_impossible_clips():
    """Treat clips that no node of the cluster can run as mistakes of the table."""
    if workflow.local_exec:
        return
    auto = gpus_of_auto_clips()
    for clip in list(CLIPS.values()):
        wanted = clip.settings.gpus
        if problem := why_never_with(auto if wanted == AUTO else wanted):
            TABLE.refuse(clip, "gpus", problem)


def work_of(wildcards):
    return clip_work(clip_of(wildcards), RESULTS)


def cpu_job(stage, cpus=1, mb=asking.STAGE_MB):
    """Return the resources of a job without GPU."""

    def runtime(wildcards, attempt):
        if not hasattr(wildcards, "clip"):
            return asking.fixed_minutes(SITE, attempt)
        return asking.stage_minutes(stage, work_of(wildcards), SITE, attempt)

    def memory(wildcards, attempt):
        return asking.grown_mb(mb, attempt, largest_memory())

    # Over ten thousand clips, Snakemake takes minutes to call functions.
    if not SUBMITS:
        return {"mem_mb": mb}
    submitted = {"runtime": runtime, "cpus_per_task": cpus, **SITE.cpu_options}
    return {"mem_mb": asked_memory(memory), **submitted}


def asked_memory(mb):
    """Return what a job states of its memory, 0 where a cluster must not be asked for any."""
    return mb if SITE.memory or not SUBMITS else 0


def gpus_of_auto_clips():
    if given := workflow.remote_exec and os.environ.get("SLURM_GPUS_ON_NODE"):
        # Rows may have been added since the job was submitted.
        return int(given)
    if workflow.local_exec and not workflow.remote_exec:
        # A workstation is one node.
        available = workflow.global_resources.get("gpu").value or 1
        return auto_gpus(available, available, AUTO_CLIPS)
    return auto_gpus(SITE.max_gpus, SITE.gpus_per_node, AUTO_CLIPS)


def gpus_of(wildcards):
    wanted = clip_of(wildcards).settings.gpus
    return gpus_of_auto_clips() if wanted == AUTO else wanted


def of_gpus(function):
    """Return a resource that depends on the clip's GPUs, a constant when all clips want as many."""
    wanted = {clip.settings.gpus for clip in CLIPS.values()}
    if len(wanted) == 1 and AUTO not in wanted:
        return function(*wanted)
    return lambda wildcards: function(gpus_of(wildcards))


def nodes(gpus):
    return node_count(gpus, SITE.gpus_per_node)


def ranks_of_node(gpus):
    return gpus // nodes(gpus)


def gpu_job():
    """Return the resources of the sampler: its GPUs, evenly on the fewest nodes."""

    def runtime(wildcards, attempt):
        return asking.sampling_minutes(
            work_of(wildcards), gpus_of(wildcards), SITE, CONFIG.model, attempt
        )

    def memory(wildcards, attempt):
        ranks = ranks_of_node(gpus_of(wildcards))
        return asking.sampling_mb(ranks, CONFIG.model, attempt, largest_memory())

    def request(name):
        return of_gpus(lambda gpus: SITE.gpu_request(ranks_of_node(gpus))[name])

    submitted = {
        "runtime": runtime,
        "cpus_per_task": of_gpus(lambda gpus: SITE.cpus_per_gpu * ranks_of_node(gpus)),
        "nodes": of_gpus(nodes),
        # One task a node: torchrun starts the ranks.
        "tasks_per_gpu": 0,
        **{name: request(name) for name in SITE.gpu_request(1)},
        **SITE.gpu_options,
        **own_tasks(),
        **one_at_a_time(),
    }
    return {
        "mem_mb": asked_memory(memory),
        GPUS: of_gpus(int),
        **(submitted if SUBMITS else {}),
    }


def one_at_a_time():
    """Return the resource of which a job of several clips has one for each in turn."""
    return {"samplers": 1} if SITE.clips_per_job > 1 else {}


def detector(stage, clip):
    return getattr(clip.settings, DETECTOR_SETTINGS[stage])


def has_own_gpu(stage, clip):
    """Tell whether a stage's detector is a job of a cluster that asks for a GPU."""
    return DETECTOR_SETTINGS[stage] not in clip.unread and (
        detector(stage, clip) in GPU_DETECTORS
    )


def submission(stage):
    """Return the group of a stage of the preparation, which is one job of a cluster.

    What a detector does on a GPU is a job of its own, between what it needs and what needs it.
    """

    def of_clip(wildcards):
        clip = clip_of(wildcards)
        pose = has_own_gpu("keypoints", clip)
        mask = clip.mode == "replace" and has_own_gpu("person_mask", clip)
        edit = clip.edits and has_own_gpu("edit_reference", clip)
        before = {
            "timeline",
            "mask_points",
            *GIVEN_FIRST,
            *([] if pose else ["keypoints"]),
        }
        # Only in animation something before the detectors needs the reference.
        before |= {"reference"} if clip.mode == "animate" else set()
        if not pose and not mask and not edit:
            part = "prepare"
        elif stage in DETECTOR_SETTINGS and has_own_gpu(stage, clip):
            part = stage if stage in LATE_DETECTORS else "detect"
        else:
            part = "prepare" if stage in before else "complete"
        return f"{part}:{wildcards.clip}:"

    return of_clip if GPU_DETECTORS else "prepare:{clip}:"


def detector_job(stage):
    """Return the resources of a stage with a detector, which may have a GPU of its own."""

    def runtime(wildcards, attempt):
        clip = clip_of(wildcards)
        chosen = detector(stage, clip), has_own_gpu(stage, clip)
        return asking.stage_minutes(stage, work_of(wildcards), SITE, attempt, *chosen)

    def memory(wildcards, attempt):
        clip = clip_of(wildcards)
        files = detector_files(DETECTOR_SETTINGS[stage], clip)
        mb = asking.detector_mb(detector(stage, clip), files, has_own_gpu(stage, clip))
        return asking.grown_mb(mb, attempt, largest_memory())

    def placed(name):
        return lambda wildcards: (
            on_gpu if has_own_gpu(stage, clip_of(wildcards)) else on_cpu
        ).get(name)

    if not LARGE_DETECTORS:
        return cpu_job(stage, cpus=asking.DETECTOR_CPUS)
    on_cpu = {"cpus_per_task": asking.DETECTOR_CPUS, **SITE.cpu_options}
    on_gpu = {
        "cpus_per_task": SITE.cpus_per_gpu,
        "nodes": 1,
        "tasks_per_gpu": 0,
        GPUS: 1,
        **SITE.gpu_request(1),
        **SITE.gpu_options,
    }
    names = {**on_cpu, **(on_gpu if GPU_DETECTORS else {})}
    submitted = {"runtime": runtime, **{name: placed(name) for name in names}}
    return {"mem_mb": asked_memory(memory), **(submitted if SUBMITS else {})}


def own_tasks():
    """Return the resources by which a job on several nodes starts its own tasks.

    The plugin would start it on one node of its allocation, with all of its GPUs.
    """
    wanted = {clip.settings.gpus for clip in CLIPS.values()} - {AUTO}
    if max(wanted, default=1) <= SITE.gpus_per_node:
        return {}
    return {
        "mpi": of_gpus(lambda gpus: "srun" if nodes(gpus) > 1 else None),
        "tasks": of_gpus(lambda gpus: nodes(gpus) if nodes(gpus) > 1 else None),
    }
