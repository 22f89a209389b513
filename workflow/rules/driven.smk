"""What a model that sees the driving video itself reads of a clip, in place of pose, face and mask."""


rule driving_frames:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
    output:
        video=f"{CLIP}/src_driving.mp4",
        first=f"{CLIP}/src_driving.png",
    log:
        f"{LOGS}/driving_frames/{{clip}}.log",
    group:
        submission("driving_frames")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("driving_frames"),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/driving_frames.py --clip {wildcards.clip} --log {log:q}'
        " --video {input.video:q} --timeline {input.timeline:q}"
        " --output {output.video:q} --first {output.first:q}"


rule reference_frame:
    input:
        reference=f"{CLIP}/src_ref.png",
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/src_ref_frame.png",
    log:
        f"{LOGS}/reference_frame/{{clip}}.log",
    group:
        submission("reference_frame")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("reference_frame"),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/reference_frame.py --clip {wildcards.clip} --log {log:q}'
        " --reference {input.reference:q} --timeline {input.timeline:q} --output {output:q}"


use rule reference_features as driving_features with:
    input:
        model=index_of_clip,
        timeline=f"{CLIP}/timeline.json",
        reference=f"{CLIP}/src_driving.png",
    output:
        f"{CLIP}/src_driving.safetensors",
    log:
        f"{LOGS}/driving_features/{{clip}}.log",
    group:
        submission("driving_features")


# As it stands in the table: this model was trained with texts that nobody had put in order.
rule prompt_as_given:
    input:
        index_of_wildcard,
    output:
        f"{PROMPTS}/{{key}}.safetensors",
    log:
        f"{LOGS}/prompt_as_given/{{model}}.{{key}}.log",
    wildcard_constraints:
        model=models_used(lambda model: not model.cleans_prompts),
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
        " --text={params.text:q} --as-given --output {output:q}"


rule driven_last_frames:
    input:
        result=before("intermediate.mp4"),
        driving=before("src_driving.mp4"),
    output:
        f"{CLIP}/before.safetensors",
    log:
        f"{LOGS}/driven_last_frames/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(DRIVEN),
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("last_frames"),
    params:
        frames=lambda wildcards: clip_of(wildcards).settings.conditioning_frames,
        version=1,
    shell:
        'python "$SCRIPTS"/last_frames.py --clip {wildcards.clip} --log {log:q}'
        " --result {input.result:q} --driving {input.driving:q} --count {params.frames}"
        " --output {output:q}"


rule driven_preview:
    input:
        timeline=f"{CLIP}/timeline.json",
        driving=f"{CLIP}/src_driving.mp4",
        first=f"{CLIP}/src_driving.png",
        reference=f"{CLIP}/src_ref.png",
        reference_frame=f"{CLIP}/src_ref_frame.png",
        # Not read: it joins all of a clip's preparation into one submission.
        played=ancient(f"{CLIP}/driving.mp4"),
    output:
        sheet=f"{CLIP}/preview.png",
        metrics=f"{CLIP}/metrics.json",
    log:
        f"{LOGS}/driven_preview/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(DRIVEN),
    group:
        submission("driven_preview")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("driven_preview"),
    params:
        settings=settings(PreviewSettings),
        version=1,
    shell:
        'python "$SCRIPTS"/driven_preview.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --timeline {input.timeline:q}"
        " --driving {input.driving:q} --first {input.first:q} --reference {input.reference:q}"
        " --reference-frame {input.reference_frame:q}"
        " --sheet {output.sheet:q} --metrics {output.metrics:q}"


rule driven_preview_video:
    input:
        timeline=f"{CLIP}/timeline.json",
        driving=f"{CLIP}/src_driving.mp4",
        reference_frame=f"{CLIP}/src_ref_frame.png",
        sound_source=sound_source,
        sound=f"{CLIP}/sound.json",
    output:
        f"{CLIP}/preview.mp4",
    log:
        f"{LOGS}/driven_preview_video/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(DRIVEN),
    group:
        submission("driven_preview_video")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("driven_preview_video"),
    params:
        settings=settings(PreviewSettings),
        version=1,
    shell:
        'python "$SCRIPTS"/driven_preview_video.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --timeline {input.timeline:q}"
        " --driving {input.driving:q} --reference-frame {input.reference_frame:q}"
        " --sound {input.sound:q} --sound-source {input.sound_source:q} --output {output:q}"
