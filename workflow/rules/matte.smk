"""Replacement: where the driving person is, and the driving video without that person."""


rule mask_points:
    input:
        points=lambda wildcards: clip_of(wildcards).settings.points,
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/mask_points.json",
    log:
        f"{LOGS}/mask_points/{{clip}}.log",
    group:
        submission("mask_points")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("mask_points"),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/mask_points.py --clip {wildcards.clip} --log {log:q}'
        " --points {input.points:q} --timeline {input.timeline:q} --output {output:q}"


rule person_mask:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        keypoints=f"{CLIP}/keypoints.npz",
        points=branch(marks_points, then=f"{CLIP}/mask_points.json"),
        weights=backend_weights("mask_backend", "sam2", own="sam2_checkpoint"),
    output:
        f"{CLIP}/person_mask.mp4",
    log:
        f"{LOGS}/person_mask/{{clip}}.log",
    group:
        submission("person_mask")
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **detector_job("person_mask"),
    params:
        settings=settings(PersonMaskSettings),
        weights=backend_content("mask_backend"),
        version=2,
    shell:
        'python "$SCRIPTS"/person_mask.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q}"
        " --timeline {input.timeline:q} --keypoints {input.keypoints:q}"
        " --points {input.points:q}"
        ' --weights {input.weights:q} --device "$DETECTORS" --output {output:q}'


rule excluded_mask:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        points=f"{CLIP}/mask_points.json",
        weights=backend_weights("mask_backend", "sam2", own="sam2_checkpoint"),
    output:
        f"{CLIP}/excluded_mask.mp4",
    log:
        f"{LOGS}/excluded_mask/{{clip}}.log",
    group:
        submission("excluded_mask")
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **detector_job("excluded_mask"),
    params:
        weights=backend_content("mask_backend"),
        version=1,
    shell:
        'python "$SCRIPTS"/excluded_mask.py --clip {wildcards.clip} --log {log:q}'
        " --video {input.video:q} --timeline {input.timeline:q} --points {input.points:q}"
        ' --weights {input.weights:q} --device "$DETECTORS" --output {output:q}'


rule mask:
    input:
        timeline=f"{CLIP}/timeline.json",
        person_mask=f"{CLIP}/person_mask.mp4",
        excluded=branch(excludes, then=f"{CLIP}/excluded_mask.mp4"),
    output:
        f"{CLIP}/src_mask.mp4",
    log:
        f"{LOGS}/mask/{{clip}}.log",
    wildcard_constraints:
        clip=clips_without("mask_video"),
    group:
        submission("mask")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("mask"),
    params:
        settings=settings(MaskSettings),
        version=2,
    shell:
        'python "$SCRIPTS"/mask.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --timeline {input.timeline:q}"
        " --person-mask {input.person_mask:q} --excluded {input.excluded:q} --output {output:q}"


rule background:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        mask=f"{CLIP}/src_mask.mp4",
    output:
        f"{CLIP}/src_bg.mp4",
    log:
        f"{LOGS}/background/{{clip}}.log",
    wildcard_constraints:
        clip=clips_without("background_video"),
    group:
        submission("background")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("background"),
    params:
        settings=settings(MaskGrid),
        version=2,
    shell:
        'python "$SCRIPTS"/background.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --timeline {input.timeline:q}"
        " --mask {input.mask:q} --output {output:q}"
