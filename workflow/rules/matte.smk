"""Replacement: where the driving person is, and the driving video without that person."""


rule person_mask:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        keypoints=f"{CLIP}/keypoints.npz",
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
        ' --weights {input.weights:q} --device "$DETECTORS" --output {output:q}'


rule mask:
    input:
        timeline=f"{CLIP}/timeline.json",
        person_mask=f"{CLIP}/person_mask.mp4",
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
        " --person-mask {input.person_mask:q} --output {output:q}"


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
