"""The keys of config.yaml, declared once."""

from typing import Any, Literal

from animate.config.fields import Declared, GpuType, Switch, setting
from animate.config.settings import ClipSettings, ModelName

FLAGS = "flags as `--name` or `--name=value`, but none that another key or the workflow sets"


class ClusterConfig(Declared):
    """What a SLURM cluster offers, for `--profile slurm` and `snakemake plan`."""

    account: str | None = setting(None, "Account that jobs are charged to")
    gpu_account: str | None = setting(None, "Account of jobs with GPUs; `account` when empty")
    qos: str | None = setting(None, "Quality of service of jobs")
    gpu_qos: str | None = setting(None, "Quality of service of jobs with GPUs; `qos` when empty")
    partition: str | None = setting(
        None, "Partition of jobs without GPU; the cluster's default when empty"
    )
    constraint: str | None = setting(None, "Features a node without GPU must have")
    gpu_partition: str | None = setting(None, "Partition of the sampler; `partition` when empty")
    gpu_constraint: str | None = setting(None, "Features a GPU node must have")
    gpu_model: GpuType | None = setting(
        None,
        "GPU type as `sinfo -o %G` names it; any when empty",
        "a name of letters, digits, `_`, `-`, `+` and `.`",
    )
    gpu_memory_gb: float = setting(
        80.0,
        "Memory of one GPU in GB; clips that need more are not planned, and jobs of Wan-Animate-2"
        " ask for host memory by it",
        gt=0,
    )
    gpu_speed: float = setting(0.5, "Speed of one GPU, an H200 being 1", gt=0)
    gpus_per_node: int = setting(4, "GPUs of one node; a clip with more gets several nodes", ge=1)
    cpus_per_gpu: int = setting(4, "CPUs to ask for with each GPU", ge=1)
    max_gpus: int = setting(
        8,
        "GPUs that this project may hold at once; `gpus: auto` shares them among the clips",
        ge=1,
    )
    clips_per_job: int = setting(
        1,
        "Clips that one job samples one after the other, with the model loaded once; they have the"
        " same LoRAs, precision and number of GPUs",
        ge=1,
        le=1000,
    )
    max_minutes: int = setting(
        1440,
        "Longest time limit of the partition; a longer clip goes on in its next attempt",
        ge=1,
    )
    min_minutes: int = setting(10, "Shortest time limit to ask for", ge=1)
    warning_seconds: int = setting(
        120,
        "The sampler is told to stop this long before its time limit",
        ge=0,
        le=3600,
    )
    scratch: str | None = setting(
        None,
        "Folder on a node's own disk to copy the model to, such as `$SLURM_TMPDIR`; not copied when"
        " empty",
    )
    network: Literal["login", "nodes"] = setting(
        "login", "Where downloads run, on the login node or on compute nodes"
    )
    memory: bool = setting(
        True, "Whether jobs ask for memory; `false` where `sbatch` refuses `--mem`"
    )
    gres: bool = setting(
        False,
        "Whether GPUs are asked for by `--gres`; `true` where `sbatch` refuses `--gpus-per-node`",
    )
    extra: str | None = setting(None, "More flags of `sbatch` for every job", FLAGS)
    gpu_extra: str | None = setting(
        None, "More flags of `sbatch` for jobs with GPUs, added to `extra`", FLAGS
    )
    check_nodes: bool = setting(
        True,
        "Whether a clip that fits no node of the partition, as `sinfo` lists them, is refused;"
        " `false` where nodes are listed only once they exist",
    )


class Configuration(Declared):
    """config.yaml."""

    clips: str = setting("config/clips.csv", "The table of clips", "the path of a CSV file")
    results: str = setting("results", "Folder of the results", "a path")
    models: str = setting("models", "Folder of the model weights", "a path")
    logs: str = setting("logs", "Folder of the log files", "a path")
    model: ModelName = setting(
        "wan2.2-animate-14b",
        "Which weights, for clips that state none. Small ones, for a CPU: `demo` was trained on one"
        " photograph and animates nothing else, `tiny` and `tiny-2` have random ones and make noise"
        " by design",
    )
    detectors: Literal["auto", "cpu", "cuda"] = setting(
        "auto",
        "Where vitpose and sam2 run: `auto` takes a free GPU, and asks a cluster for one where the"
        " sampler has one; `cuda` fails without",
    )
    device: Literal["auto", "cuda", "cpu"] = setting(
        "auto", "Where the sampler runs; auto takes a GPU, and the CPU only for a small model"
    )
    compile: Switch = setting(
        "auto",
        "Whether the transformer is compiled on a GPU. Without a C compiler and Python's headers,"
        " `auto` samples uncompiled, about 1.1 times slower, and `on` refuses to",
    )
    warm_seconds: int = setting(
        60,
        "How long a sampler stays loaded, and holds its GPUs, for the run's next clip with the same"
        " model, LoRAs, precision and `gpus`; 0 loads the model for each clip. On a cluster only"
        " within a job, see `clips_per_job`",
        ge=0,
    )
    defaults: ClipSettings = setting(
        ClipSettings(),
        "Settings of every clip that does not set its own",
        "a mapping of settings",
    )
    presets: dict[str, ClipSettings] = setting(
        {},
        "Named groups of settings; what stands under the name of a preset that a model comes with"
        " goes over that one",
        "a mapping from a name to settings",
    )
    cluster: ClusterConfig = setting(
        ClusterConfig(),
        "What a SLURM cluster offers, for `--profile slurm` and `snakemake plan`",
        "a mapping of the keys below",
    )


def stated(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a configuration states: an empty key states nothing."""
    return {key: value for key, value in config.items() if value is not None}
