"""Figures about each result: the person is found again in it, and compared with what was asked."""


rule result_keypoints:
    input:
        timeline=f"{CLIP}/timeline.json",
        result=f"{CLIP}/sampled.mp4",
        reference=f"{CLIP}/src_ref.png",
    output:
        result=f"{CLIP}/result_keypoints.npz",
        reference=f"{CLIP}/result_reference_keypoints.npz",
    log:
        f"{LOGS}/result_keypoints/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **cpu_job("result_keypoints", cpus=2),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/result_keypoints.py --clip {wildcards.clip} --log {log:q}'
        " --timeline {input.timeline:q} --result {input.result:q} --reference {input.reference:q}"
        " --output {output.result:q} --reference-output {output.reference:q}"


rule result_metrics:
    input:
        timeline=f"{CLIP}/timeline.json",
        keypoints=branch(found_in_driver, then=f"{CLIP}/keypoints.npz"),
        result=f"{CLIP}/sampled.mp4",
        result_keypoints=f"{CLIP}/result_keypoints.npz",
        reference=f"{CLIP}/src_ref.png",
        reference_keypoints=f"{CLIP}/result_reference_keypoints.npz",
        drawn_reference=branch(retargets, then=f"{CLIP}/reference_keypoints.npz"),
        bones=branch(edits, then=f"{CLIP}/retarget.json"),
        background=branch(replaces, then=f"{CLIP}/src_bg.mp4"),
        mask=branch(replaces, then=f"{CLIP}/src_mask.mp4"),
        model=index_of_clip,
    output:
        f"{CLIP}/result_metrics.json",
    log:
        f"{LOGS}/result_metrics/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("result_metrics", mb=most_mb_of(amounts.image_encoder_mb)),
    params:
        settings=settings(ResultSettings),
        compared=found_in_driver,
        version=5,
    shell:
        'python "$SCRIPTS"/result_metrics.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --timeline {input.timeline:q}"
        " --keypoints {input.keypoints:q} --compared {params.compared} --result {input.result:q}"
        " --result-keypoints {input.result_keypoints:q} --reference {input.reference:q}"
        " --reference-keypoints {input.reference_keypoints:q} --model {input.model:q}"
        " --background {input.background:q} --mask {input.mask:q}"
        " --drawn-reference {input.drawn_reference:q} --bones {input.bones:q} --output {output:q}"
