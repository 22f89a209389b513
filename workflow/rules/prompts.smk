"""Where the prompts lie as the sampler reads them: each distinct text is encoded once."""

import hashlib

PROMPTS = f"{RESULTS}/.prompts/{CONFIG.model}"


def text_key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PROMPT_TEXTS = {
    text_key(text): text
    for clip in CLIPS.values()
    for text in (clip.settings.prompt, clip.settings.negative_prompt)
}


def embedding_of(text):
    return f"{PROMPTS}/{text_key(text)}.safetensors"


def prompt_embedding(wildcards):
    return embedding_of(clip_of(wildcards).settings.prompt)


def negative_prompt_embedding(wildcards):
    """Without guidance, the sampler has no use for a negative prompt."""
    chosen = clip_of(wildcards).settings
    if not chosen.guided:
        return []
    return embedding_of(chosen.negative_prompt)
