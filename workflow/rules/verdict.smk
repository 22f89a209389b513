"""Whether a clip is worth its GPU hours: asked after its preparation, before its sampler."""


rule verdict:
    input:
        timeline=f"{CLIP}/timeline.json",
        metrics=f"{CLIP}/metrics.json",
        keypoints=branch(compares_limbs, then=f"{CLIP}/keypoints.npz"),
        reference=branch(compares_limbs, then=f"{CLIP}/src_ref.png"),
        reference_keypoints=branch(
            compares_limbs, then=f"{CLIP}/reference_keypoints.npz"
        ),
    output:
        f"{CLIP}/verdict.json",
    log:
        f"{LOGS}/verdict/{{clip}}.log",
    # On a cluster, too, what it says is said on the console.
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    params:
        settings=settings(VerdictSettings),
        given=own_columns,
        version=3,
    shell:
        'python "$SCRIPTS"/verdict.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --given {params.given} --timeline {input.timeline:q} --metrics {input.metrics:q}"
        " --keypoints {input.keypoints:q} --reference {input.reference:q}"
        " --reference-keypoints {input.reference_keypoints:q} --output {output:q}"


# Its output lasts until the clip is sampled, so it is asked again before each sampling. Another
# threshold is no reason to sample again, hence `ancient`; without the inputs that are not read, an
# old answer would hold for a new pose.
rule accept:
    input:
        verdict=ancient(f"{CLIP}/verdict.json"),
        pose=branch(is_posed, then=f"{CLIP}/src_pose.mp4"),
        face=branch(is_posed, then=f"{CLIP}/src_face.mp4"),
        driving=branch(is_posed, otherwise=f"{CLIP}/src_driving.mp4"),
        mask=branch(replaces, then=f"{CLIP}/src_mask.mp4"),
    output:
        temp(touch(f"{CLIP}/.accepted")),
    log:
        f"{LOGS}/accept/{{clip}}.log",
    localrule: True
    conda:
        "../../envs/preprocess.yaml"
    shell:
        'python "$SCRIPTS"/accept.py --clip {wildcards.clip} --log {log:q}'
        " --verdict {input.verdict:q}"
