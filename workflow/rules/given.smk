"""A user's own files in the place of what a stage makes; and points out, to correct them."""


rule given_keypoints:
    input:
        points=own_points,
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/keypoints.npz",
    log:
        f"{LOGS}/given_keypoints/{{clip}}.log",
    wildcard_constraints:
        clip=clips_with("keypoints"),
    # A mistake in a given file is found before a detector is at work.
    priority: 1
    group:
        submission("given_keypoints")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("given_keypoints"),
    params:
        points=own_video("keypoints"),
        version=1,
    shell:
        'python "$SCRIPTS"/given_keypoints.py --clip {wildcards.clip} --log {log:q}'
        " --points {params.points:q} --timeline {input.timeline:q} --output {output:q}"


rule given_pose:
    input:
        video=own_video("pose_video"),
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/src_pose.mp4",
    log:
        f"{LOGS}/given_pose/{{clip}}.log",
    wildcard_constraints:
        clip=clips_with("pose_video"),
    priority: 1
    group:
        submission("given_pose")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("given_pose"),
    params:
        column="pose_video",
        version=1,
    shell:
        'python "$SCRIPTS"/given_video.py --clip {wildcards.clip} --log {log:q}'
        " --column {params.column} --video {input.video:q} --timeline {input.timeline:q}"
        " --output {output:q}"


use rule given_pose as given_face with:
    input:
        video=own_video("face_video"),
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/src_face.mp4",
    log:
        f"{LOGS}/given_face/{{clip}}.log",
    wildcard_constraints:
        clip=clips_with("face_video"),
    group:
        submission("given_face")
    resources:
        **cpu_job("given_face"),
    params:
        column="face_video",
        version=1,


rule given_mask:
    input:
        video=own_video("mask_video"),
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/src_mask.mp4",
    log:
        f"{LOGS}/given_mask/{{clip}}.log",
    wildcard_constraints:
        clip=clips_with("mask_video"),
    priority: 1
    group:
        submission("given_mask")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("given_mask"),
    params:
        settings=settings(MaskGrid),
        version=1,
    shell:
        'python "$SCRIPTS"/given_mask.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q}"
        " --timeline {input.timeline:q} --output {output:q}"


rule given_background:
    input:
        video=own_video("background_video"),
        timeline=f"{CLIP}/timeline.json",
        mask=f"{CLIP}/src_mask.mp4",
    output:
        f"{CLIP}/src_bg.mp4",
    log:
        f"{LOGS}/given_background/{{clip}}.log",
    wildcard_constraints:
        clip=clips_with("background_video"),
    group:
        submission("given_background")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("given_background"),
    params:
        settings=settings(MaskGrid),
        version=1,
    shell:
        'python "$SCRIPTS"/given_background.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q}"
        " --timeline {input.timeline:q} --mask {input.mask:q} --output {output:q}"


rule export_clip_keypoints:
    input:
        keypoints=f"{CLIP}/keypoints.npz",
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/exported_keypoints.json",
    log:
        f"{LOGS}/export_clip_keypoints/{{clip}}.log",
    group:
        submission("export_clip_keypoints")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("export_clip_keypoints"),
    params:
        folder=lambda wildcards, input: os.path.splitext(input.keypoints)[0],
        version=1,
    shell:
        'python "$SCRIPTS"/export_keypoints.py --clip {wildcards.clip} --log {log:q}'
        " --keypoints {input.keypoints:q} --timeline {input.timeline:q}"
        " --folder {params.folder:q} --output {output:q}"


rule export_keypoints:
    input:
        [
            f"{RESULTS}/{name}/exported_keypoints.json"
            for name, clip in CLIPS.items()
            # Of another clip's result there are points only after hours of sampling.
            if clip.has_points and not clip.prepared_after_sampling
        ],
        refused_rows,
