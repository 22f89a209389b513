"""What encoders make of prompt and reference, the sampler, the video, and frames for other rows."""


rule prompt:
    input:
        index_of_wildcard,
    output:
        f"{PROMPTS}/{{key}}.safetensors",
    log:
        f"{LOGS}/prompt/{{model}}.{{key}}.log",
    wildcard_constraints:
        model=models_used(lambda model: model.cleans_prompts),
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("prompt", mb=most_mb_of(amounts.text_encoder_mb)),
    params:
        text=lambda wildcards: PROMPT_TEXTS[wildcards.key],
        model=lambda wildcards, input: os.path.dirname(input[0]),
        weights=model_content,
        version=1,
    shell:
        'python "$SCRIPTS"/encode_prompt.py --log {log:q} --model {params.model:q}'
        " --text={params.text:q} --output {output:q}"


rule reference_features:
    input:
        model=index_of_clip,
        timeline=f"{CLIP}/timeline.json",
        reference=branch(
            is_posed,
            then=f"{CLIP}/src_ref.png",
            otherwise=f"{CLIP}/src_ref_frame.png",
        ),
    output:
        f"{CLIP}/src_ref.safetensors",
    log:
        f"{LOGS}/reference_features/{{clip}}.log",
    group:
        submission("reference_features")
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("reference_features", mb=most_mb_of(amounts.image_encoder_mb)),
    params:
        model=lambda wildcards, input: os.path.dirname(input.model),
        weights=content_of_clip_model,
        version=1,
    shell:
        'python "$SCRIPTS"/encode_reference.py --clip {wildcards.clip} --log {log:q}'
        " --model {params.model:q} --timeline {input.timeline:q} --reference {input.reference:q}"
        " --output {output:q}"


rule last_frames:
    input:
        result=before("intermediate.mp4"),
        pose=before("src_pose.mp4"),
        face=before("src_face.mp4"),
        background=before("src_bg.mp4", needed=replaces),
        mask=before("src_mask.mp4", needed=replaces),
    output:
        f"{CLIP}/before.safetensors",
    log:
        f"{LOGS}/last_frames/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(POSED),
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("last_frames"),
    params:
        frames=lambda wildcards: clip_of(wildcards).settings.conditioning_frames,
        version=1,
    shell:
        'python "$SCRIPTS"/last_frames.py --clip {wildcards.clip} --log {log:q}'
        " --result {input.result:q} --pose {input.pose:q} --face {input.face:q}"
        " --background {input.background:q} --mask {input.mask:q} --count {params.frames}"
        " --output {output:q}"


rule sample:
    input:
        model=index_of_clip,
        transformer=transformer_inputs,
        timeline=f"{CLIP}/timeline.json",
        pose=branch(is_posed, then=f"{CLIP}/src_pose.mp4"),
        face=branch(is_posed, then=f"{CLIP}/src_face.mp4"),
        driving=branch(is_posed, otherwise=f"{CLIP}/src_driving.mp4"),
        driving_features=branch(is_posed, otherwise=f"{CLIP}/src_driving.safetensors"),
        driving_prompt=driving_prompt_embedding,
        reference=branch(
            is_posed,
            then=f"{CLIP}/src_ref.png",
            otherwise=f"{CLIP}/src_ref_frame.png",
        ),
        features=f"{CLIP}/src_ref.safetensors",
        background=branch(replaces, then=f"{CLIP}/src_bg.mp4"),
        mask=branch(replaces, then=f"{CLIP}/src_mask.mp4"),
        prompt=prompt_embedding,
        negative_prompt=negative_prompt_embedding,
        later_prompts=later_embeddings,
        before=last_frames,
        loras=own_loras,
        hub_loras=hub_lora_anchors,
        # Not read: a bad verdict is told before a GPU is taken.
        accepted=ancient(f"{CLIP}/.accepted"),
        # Not read: a mistake in the sound is found before a GPU is taken.
        sound=ancient(f"{CLIP}/sound.json"),
    output:
        video=f"{CLIP}/sampled.mp4",
        job=f"{CLIP}/sampled.json",
        record=f"{CLIP}/sampling.json",
    log:
        f"{LOGS}/sample/{{clip}}.log",
    conda:
        "../../envs/sample.yaml"
    threads: 4
    resources:
        **gpu_job(),
    params:
        # Only params that do not depend on input or output make a job run again.
        settings=settings(SamplingSettings),
        prompts=later_prompts,
        job=sampler_job,
        launch=launch_options,
        weights=sampler_content,
        version=1,
    shell:
        "printf '%s' {params.job:q} > {output.job:q} && "
        'python "$SCRIPTS"/launch_sampler.py {params.launch:q} {output.job:q} 2>> {log:q}'


rule mux:
    input:
        video=f"{CLIP}/sampled.mp4",
        sound_source=sound_source,
        sound=f"{CLIP}/sound.json",
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/{{clip}}.mp4",
    log:
        f"{LOGS}/mux/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("mux"),
    params:
        journal=f"{CLIP}/.journal",
        # A function of `output` is no reason to run again.
        keep=lambda wildcards, output: "--keep-journal" * clip_of(wildcards).taken,
        version=2,
    shell:
        'python "$SCRIPTS"/mux.py --clip {wildcards.clip} --log {log:q} --video {input.video:q}'
        " --driving-video {input.sound_source:q} --sound {input.sound:q} --timeline {input.timeline:q} --output {output:q}"
        " --journal {params.journal:q} {params.keep}"


rule intermediate:
    input:
        video=f"{CLIP}/sampled.mp4",
        record=f"{CLIP}/sampling.json",
    output:
        f"{CLIP}/intermediate.mp4",
    log:
        f"{LOGS}/intermediate/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("intermediate"),
    params:
        journal=f"{CLIP}/.journal",
        # What it depends on is an input.
        blend=lambda wildcards, output: clip_of(wildcards).settings.overlap_blend,
        version=1,
    shell:
        'python "$SCRIPTS"/intermediate.py --clip {wildcards.clip} --log {log:q}'
        " --video {input.video:q} --record {input.record:q} --journal {params.journal:q}"
        " --blend {params.blend} --output {output:q}"
