"""Which source frame becomes which output frame, and the reference image as the model reads it."""


rule timeline:
    input:
        video=driving_video,
        # Animation takes the shape of the reference image, replacement that of the driving video.
        frame_shape=branch(replaces, otherwise=f"{CLIP}/src_ref.png"),
        before=before("timeline.json"),
    output:
        f"{CLIP}/timeline.json",
    log:
        f"{LOGS}/timeline/{{clip}}.log",
    group:
        submission("timeline")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("timeline"),
    params:
        settings=settings(TimelineSettings),
        size=size_option,
        before=clip_before,
        frames=frames_before,
        version=2,
    shell:
        'python "$SCRIPTS"/timeline.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q}"
        " --frame-shape {input.frame_shape:q} {params.size} --before {input.before:q}"
        " --clip-before {params.before:q} --conditioning-frames {params.frames}"
        " --output {output:q}"


rule sound:
    input:
        video=sound_source,
        # Not read: a video that cannot be read is refused once.
        timeline=ancient(f"{CLIP}/timeline.json"),
    output:
        f"{CLIP}/sound.json",
    log:
        f"{LOGS}/sound/{{clip}}.log",
    group:
        "prepare:{clip}:"
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("sound"),
    params:
        settings=settings(SoundSettings),
        version=1,
    shell:
        'python "$SCRIPTS"/sound.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --output {output:q}"


rule reference:
    input:
        reference_image,
    output:
        f"{CLIP}/src_ref.png",
    log:
        f"{LOGS}/reference/{{clip}}.log",
    group:
        submission("reference")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("reference"),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/reference.py --clip {wildcards.clip} --log {log:q}'
        " --image {input:q} --output {output:q}"
