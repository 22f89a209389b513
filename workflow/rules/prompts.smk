"""Where the prompts lie as the sampler reads them: each distinct text is encoded once."""

import hashlib

from animate.config.job import TIMED_PROMPT

PROMPTS = f"{RESULTS}/.prompts/{{model}}"


def text_key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PROMPT_TEXTS = {
    text_key(text): text
    for clip in CLIPS.values()
    for text in clip.settings.all_prompts
}


def embedding_of(clip, text):
    """Return where the model of a clip finds a text, as its own text encoder reads it."""
    folder = PROMPTS.format(model=clip.model.name)
    return f"{folder}/{text_key(text)}.safetensors"


def prompt_embedding(wildcards):
    clip = clip_of(wildcards)
    return embedding_of(clip, clip.settings.first_prompt)


def later_prompts(wildcards):
    """Return the prompts that hold from a second on, as text: others sample a clip again."""
    return json.dumps(clip_of(wildcards).settings.later_prompts)


def later_embeddings(wildcards):
    clip = clip_of(wildcards)
    return [embedding_of(clip, text) for _, text in clip.settings.later_prompts]


def timed_embeddings(clip):
    """Return the later prompts of a clip as the sampler is told of them."""
    return {
        f"{TIMED_PROMPT}{second:.12g}": embedding_of(clip, text)
        for second, text in clip.settings.later_prompts
    }


def driving_prompt_embedding(wildcards):
    clip = clip_of(wildcards)
    if clip.model.posed:
        return []
    return embedding_of(clip, clip.settings.driving_prompt)


def negative_prompt_embedding(wildcards):
    """Without guidance, the sampler has no use for a negative prompt."""
    clip = clip_of(wildcards)
    if not clip.settings.guided:
        return []
    return embedding_of(clip, clip.settings.negative_prompt)
