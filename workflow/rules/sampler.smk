"""What the sampler is told of a clip, and where its ranks run."""

from animate.config.job import (
    BEFORE,
    DRIVEN_INPUTS,
    INPUTS,
    NEGATIVE_PROMPT,
    REPLACE_INPUTS,
    TIMELINE,
)
from animate.config.rows.seeds import row_name


def sampler_job(wildcards, input, output):
    """Return the settings file of sample.py as JSON text."""
    clip = clip_of(wildcards)
    roles = (*INPUTS, *REPLACE_INPUTS, *DRIVEN_INPUTS)
    roles += (NEGATIVE_PROMPT, TIMELINE, BEFORE)
    job = {
        "clip": clip.name,
        "mode": clip.mode,
        "model": f"{MODELS}/{clip.model.name}",
        "inputs": {
            **{role: str(input[role]) for role in roles if input.get(role)},
            **timed_embeddings(clip),
        },
        "output": str(output.video),
        "record": str(output.record),
        "journal": f"{RESULTS}/{clip.name}/.journal",
        "progress": f"{LOGS}/sample/{clip.name}.log",
        "settings": {
            **clip.settings.sampling(CONFIG.models),
            "transformer_file": transformer_path(clip),
        },
    }
    if not clip.model.posed:
        # No input of the rule: finished clips are not sampled again.
        job["cut_to"] = f"{RESULTS}/{row_name(clip.name)}/src_ref.png"
    return json.dumps(job, ensure_ascii=False)


def launch_options(wildcards, output, resources):
    """Return where the sampler's ranks run; not a reason to sample again."""
    options = ["--gpus", str(resources.get(GPUS))]
    options += [f"--device={CONFIG.device}", f"--compile={CONFIG.compile}"]
    if in_slurm_job():
        options += [f"--nodes={resources.nodes}", f"--cpus={resources.cpus_per_task}"]
        options += ["--scratch", SITE.scratch] if SITE.scratch else []
        options += [f"--stop-before={SITE.warning_seconds}"] if IN_PACK else []
    if IN_PACK or not workflow.remote_exec:
        # Ranks stay for the next clip of this run.
        options += [f"--warm-seconds={CONFIG.warm_seconds}", f"--run={os.getpid()}"]
    return options
