"""What a site may add to the sbatch of each job, and what Snakemake's SLURM plugin lets pass."""

import re
import shlex

FLAG = re.compile(r"--([a-z][a-z0-9-]+)(=.*)?", re.DOTALL)
GPUS = "gpu_model, gpus_per_node and gres"
# Flags that the workflow or the plugin sets, and the keys of `cluster:` that change them.
SET_ALREADY = {
    "account": "account and gpu_account",
    "qos": "qos and gpu_qos",
    "partition": "partition and gpu_partition",
    "constraint": "constraint and gpu_constraint",
    "time": "min_minutes and max_minutes",
    "signal": "warning_seconds",
    "mem": "memory",
    "mem-per-cpu": "memory",
    **dict.fromkeys(("gres", "gpus", "gpus-per-node", "gpus-per-task"), GPUS),
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), "cpus_per_gpu"),
    "nodes": "gpus_per_node",
    **dict.fromkeys(("ntasks", "ntasks-per-node", "ntasks-per-gpu"), ""),
    **dict.fromkeys(("array", "chdir", "clusters", "comment", "error", "export", "job-name"), ""),
    **dict.fromkeys(("output", "parsable", "test-only", "wait", "wrap"), ""),
}


def flags_problem(text: str) -> str:
    """Return why sbatch cannot be given these flags besides its others, or nothing."""
    try:
        words = shlex.split(text)
    except ValueError:
        return f"{text!r} lacks the end of a quotation"
    for word in words:
        flag = FLAG.fullmatch(word)
        if not flag:
            return f"{word!r} is no flag of the form --name or --name=value"
        # sbatch takes the beginning of a name for all of it.
        for name, keys in SET_ALREADY.items():
            if name.startswith(flag[1]):
                instead = f"use the keys {keys}" if keys else "leave it out"
                return f"--{name} is set by the workflow: {instead}"
    return ""


def quoted_flags(text: str | None) -> str:
    """Return flags as a shell has to read them to pass them on unchanged."""
    return shlex.join(shlex.split(text or ""))


def plugin_takes(gpu_type: str) -> bool:
    """Tell whether the plugin lets a GPU type pass in the resources `gpu_model` and `gres`."""
    return re.fullmatch(r"[\w.]+", gpu_type, re.ASCII) is not None
