"""Prompt embeddings, the sampler, and the finished video."""

import hashlib

SAMPLING_SETTINGS = (
    "segment_frames",
    "steps",
    "guidance_scale",
    "conditioning_frames",
    "shift",
    "solver",
    "seed",
    "relighting_lora",
    "loras",
    "color_match",
)


def text_key(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


PROMPT_TEXTS = {
    text_key(text): text
    for clip in CLIPS.values()
    for text in (clip.settings["prompt"], clip.settings["negative_prompt"])
}


def embedding(setting):
    def of_clip(wildcards):
        text = clip_of(wildcards).settings[setting]
        return f"{RESULTS}/.prompts/{CONFIG['model']}/{text_key(text)}.safetensors"

    return of_clip


def negative_embedding(wildcards):
    guided = clip_of(wildcards).settings["guidance_scale"] > 1
    return embedding("negative_prompt")(wildcards) if guided else []


def replacement_inputs(name):
    def of_clip(wildcards):
        return f"{RESULTS}/{wildcards.clip}/{name}" if replaces(wildcards) else []

    return of_clip


def sampler_settings(wildcards, input, output):
    """Return the settings file of sample.py as JSON text."""
    clip = clip_of(wildcards)
    optional = ("background", "mask", "negative_prompt")
    roles = ("pose", "face", "reference", "prompt", *optional)
    return json.dumps(
        {
            "clip": clip.name,
            "mode": clip.mode,
            "model": MODEL,
            "inputs": {role: str(input.get(role)) for role in roles if input.get(role)},
            "output": str(output.video),
            "journal": f"{RESULTS}/{clip.name}/.journal",
            "progress": f"{LOGS}/sample/{clip.name}.log",
            "settings": {name: clip.settings[name] for name in SAMPLING_SETTINGS},
        },
        ensure_ascii=False,
    )


rule prompt:
    input:
        f"{MODEL}/model_index.json",
    output:
        f"{RESULTS}/.prompts/{CONFIG['model']}/{{key}}.safetensors",
    params:
        text=lambda wildcards: PROMPT_TEXTS[wildcards.key],
        version=1,
    log:
        f"{LOGS}/prompt/{{key}}.log",
    conda:
        "../../envs/sample.yaml"
    shell:
        "python {SCRIPTS:q}/encode_prompt.py --log {log:q} --model {MODEL:q}"
        " --text {params.text:q} --output {output:q}"


rule sample:
    input:
        model=f"{MODEL}/model_index.json",
        pose=f"{CLIP}/src_pose.mp4",
        face=f"{CLIP}/src_face.mp4",
        reference=f"{CLIP}/src_ref.png",
        background=replacement_inputs("src_bg.mp4"),
        mask=replacement_inputs("src_mask.mp4"),
        prompt=embedding("prompt"),
        negative_prompt=negative_embedding,
        loras=lambda wildcards: [lora["path"] for lora in clip_of(wildcards).settings["loras"]],
    output:
        video=f"{CLIP}/sampled.mp4",
        settings=f"{CLIP}/sampled.json",
    params:
        settings=sampler_settings,
        gpus=lambda wildcards: clip_of(wildcards).settings["gpus"],
        version=1,
    threads: 4
    resources:
        gpu=lambda wildcards: clip_of(wildcards).settings["gpus"],
    log:
        f"{LOGS}/sample/{{clip}}.log",
    benchmark:
        f"{LOGS}/sample/{{clip}}.tsv"
    conda:
        "../../envs/sample.yaml"
    shell:
        "printf '%s' {params.settings:q} > {output.settings:q} && "
        "torchrun --standalone --nproc_per_node={params.gpus}"
        " {SCRIPTS:q}/sample.py {output.settings:q}"


rule mux:
    input:
        video=f"{CLIP}/sampled.mp4",
        sound=driving_video,
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/{{clip}}.mp4",
    params:
        version=1,
    log:
        f"{LOGS}/mux/{{clip}}.log",
    conda:
        "../../envs/preprocess.yaml"
    shell:
        "python {SCRIPTS:q}/mux.py --clip {wildcards.clip} --log {log:q} --video {input.video:q}"
        " --sound {input.sound:q} --timeline {input.timeline:q} --output {output:q}"
