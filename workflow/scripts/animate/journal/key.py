"""What a sampled clip is made from, as one hash: settings, inputs, weights, and the arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from animate.config.job import (
    DRIVING_FEATURES,
    FEATURES,
    PROMPT,
    TIMED_PROMPT,
    TIMELINE,
    SamplingJob,
)
from animate.config.lora_choice import LoraFile
from animate.hashing import file_hash, value_hash
from animate.weights.identity import TRANSFORMER_FILE, file_identity, model_identity, pinned_hash
from animate.weights.layout import adapter_config

# Raise it whenever a change makes other frames of the same inputs: clips under way then start
# afresh. A test holds it against recorded frames.
SAMPLER_VERSION = 1

# Shots and the frames before count by themselves; segments are stored before they are faded.
NOT_READ = "cuts", "continue_from", "overlap_blend"


def input_hashes(job: SamplingJob) -> dict[str, str]:
    """Return the SHA-256 of each input file of a job, by its role."""
    return {role: file_hash(path) for role, path in job.inputs.items()}


def job_key(
    job: SamplingJob,
    loras: Iterable[LoraFile],
    inputs: Mapping[str, str],
    shots: Sequence[int] = (0,),
    prompts: Sequence[str] = (),
) -> str:
    """Return the hash of all that a job's frames are made from, and of nothing else.

    `loras` are the files that are merged, the relighting LoRA included; `inputs` are the
    `input_hashes`, of which the timeline counts by the `shots` that are sampled apart, prompts that
    hold from some second on by the segments that read them (`prompts` are their roles), and the
    features by what they are made of, a picture and the model. Settings that the model has no use
    for count for nothing. LoRA files count by content, the model by its pinned hashes or the
    `file_identity` of its files, or of one in its transformer's place. GPU, number of ranks and
    versions of packages stay out: a clip may go on elsewhere, and its record says so.
    """
    # Files count by what they are.
    files = {"loras", "relighting_lora", TRANSFORMER_FILE}
    settings = job.settings.model_dump(exclude={*files, *NOT_READ, *job.unread})
    if job.settings.attention == "exact":
        # So that clips from before there was a choice go on.
        del settings["attention"]
    return value_hash(
        {
            "version": SAMPLER_VERSION,
            "settings": settings,
            "loras": [(_lora_digests(lora.path), lora.weight) for lora in loras],
            "inputs": {
                role: digest
                for role, digest in inputs.items()
                if role not in (FEATURES, DRIVING_FEATURES, TIMELINE)
                and not role.startswith(TIMED_PROMPT)
            },
            "model": model_identity(job.model, own_transformer(job)),
        }
        | ({"shots": list(shots)} if len(shots) > 1 else {})
        | ({"prompts": [inputs[role] for role in prompts]} if {*prompts} - {PROMPT} else {})
    )


def own_transformer(job: SamplingJob) -> Path | None:
    """Return the one file that stands in place of the model's transformer."""
    path = job.settings.transformer_file
    return Path(path) if path else None


def transformer_record(job: SamplingJob) -> dict[str, dict[str, str]]:
    """Return path and digest of the one file with the transformer, if the job has one.

    The digest is the SHA-256 of a pinned file, of another its `file_identity`.
    """
    path = own_transformer(job)
    if path is None:
        return {}
    pinned = pinned_hash(path)
    digest = {"sha256": pinned} if pinned else {"identity": file_identity(path)}
    return {TRANSFORMER_FILE: {"path": str(path), **digest}}


def _lora_digests(path: Path) -> list[str]:
    files = (path, adapter_config(path))
    return [pinned_hash(file) or file_hash(file) for file in files if file.is_file()]
