"""Body, hands and face of the driving person, as points and as the videos the model reads."""


rule keypoints:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        weights=backend_weights("pose_backend", "vitpose"),
    output:
        keypoints=f"{CLIP}/keypoints.npz",
        people=f"{CLIP}/people.json",
    log:
        f"{LOGS}/keypoints/{{clip}}.log",
    wildcard_constraints:
        clip=clips_without("keypoints"),
    group:
        submission("keypoints")
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **detector_job("keypoints"),
    params:
        settings=settings(KeypointSettings),
        weights=backend_content("pose_backend"),
        version=2,
    shell:
        'python "$SCRIPTS"/keypoints.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --timeline {input.timeline:q}"
        ' --weights {input.weights:q} --device "$DETECTORS" --people {output.people:q}'
        " --output {output.keypoints:q}"


rule reference_keypoints:
    input:
        reference=f"{CLIP}/src_ref.png",
        weights=backend_weights("pose_backend", "vitpose"),
    output:
        f"{CLIP}/reference_keypoints.npz",
    log:
        f"{LOGS}/reference_keypoints/{{clip}}.log",
    group:
        submission("reference_keypoints")
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **detector_job("reference_keypoints"),
    params:
        settings=settings(PoseBackend),
        weights=backend_content("pose_backend"),
        version=1,
    shell:
        'python "$SCRIPTS"/reference_keypoints.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --reference {input.reference:q}"
        ' --weights {input.weights:q} --device "$DETECTORS" --output {output:q}'


rule pose_video:
    input:
        timeline=f"{CLIP}/timeline.json",
        keypoints=f"{CLIP}/keypoints.npz",
        reference=branch(retargets, then=f"{CLIP}/src_ref.png"),
        reference_keypoints=branch(retargets, then=f"{CLIP}/reference_keypoints.npz"),
        bones=branch(edits, then=f"{CLIP}/retarget.json"),
    output:
        f"{CLIP}/src_pose.mp4",
    log:
        f"{LOGS}/pose_video/{{clip}}.log",
    wildcard_constraints:
        clip=clips_without("pose_video"),
    group:
        submission("pose_video")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("pose_video"),
    params:
        settings=settings(PoseSettings),
        version=2,
    shell:
        'python "$SCRIPTS"/pose_video.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q}"
        " --timeline {input.timeline:q} --keypoints {input.keypoints:q}"
        " --reference {input.reference:q} --reference-keypoints {input.reference_keypoints:q}"
        " --bones {input.bones:q}"
        " --output {output:q}"


rule face_video:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        keypoints=f"{CLIP}/keypoints.npz",
    output:
        f"{CLIP}/src_face.mp4",
    log:
        f"{LOGS}/face_video/{{clip}}.log",
    wildcard_constraints:
        clip=clips_without("face_video"),
    group:
        submission("face_video")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("face_video"),
    params:
        settings=settings(FaceSettings),
        version=2,
    shell:
        'python "$SCRIPTS"/face_video.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --timeline {input.timeline:q}"
        " --keypoints {input.keypoints:q} --output {output:q}"
