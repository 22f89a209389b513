"""Retargeting by a picture editor: both people in a standard pose, and the bones measured there."""


rule edit_prompts:
    input:
        lambda wildcards: index_of(EDITORS[wildcards.key]),
    output:
        f"{RESULTS}/.prompts/editors/{{key}}.safetensors",
    log:
        f"{LOGS}/edit_prompts/{{key}}.log",
    conda:
        "../../envs/sample.yaml"
    resources:
        **cpu_job("edit_prompts", mb=amounts.TEXT_ENCODER_MB),
    params:
        model=lambda wildcards: editor_folder(EDITORS[wildcards.key]),
        weights=lambda wildcards: editor_content_of(EDITORS[wildcards.key]),
        version=1,
    shell:
        'python "$SCRIPTS"/edit_prompts.py --log {log:q} --model {params.model:q} --output {output:q}'


rule edit_reference:
    input:
        model=editor_index,
        prompts=editor_prompts,
        keypoints=f"{CLIP}/keypoints.npz",
        reference_keypoints=f"{CLIP}/reference_keypoints.npz",
        reference=f"{CLIP}/src_ref.png",
    output:
        f"{CLIP}/retarget_reference.png",
    log:
        f"{LOGS}/edit_reference/{{clip}}.log",
    group:
        submission("edit_reference")
    conda:
        "../../envs/sample.yaml"
    threads: 2
    resources:
        **detector_job("edit_reference"),
    params:
        **edit_params(),
    shell:
        'python "$SCRIPTS"/edit_picture.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --model {params.model:q} --prompts {input.prompts:q}"
        " --keypoints {input.keypoints:q} --reference-keypoints {input.reference_keypoints:q}"
        " --reference {input.reference:q}"
        ' --device "$DETECTORS" --output {output:q}'


rule edit_driver:
    input:
        model=editor_index,
        prompts=editor_prompts,
        keypoints=f"{CLIP}/keypoints.npz",
        reference_keypoints=f"{CLIP}/reference_keypoints.npz",
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
    output:
        f"{CLIP}/retarget_driver.png",
    log:
        f"{LOGS}/edit_driver/{{clip}}.log",
    group:
        submission("edit_driver")
    conda:
        "../../envs/sample.yaml"
    threads: 2
    resources:
        **detector_job("edit_driver"),
    params:
        **edit_params(),
    shell:
        'python "$SCRIPTS"/edit_picture.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --model {params.model:q} --prompts {input.prompts:q}"
        " --keypoints {input.keypoints:q} --reference-keypoints {input.reference_keypoints:q}"
        " --video {input.video:q} --timeline {input.timeline:q}"
        ' --device "$DETECTORS" --output {output:q}'


rule edited_pose:
    input:
        edited_reference=f"{CLIP}/retarget_reference.png",
        edited_driver=f"{CLIP}/retarget_driver.png",
        keypoints=f"{CLIP}/keypoints.npz",
        reference_keypoints=f"{CLIP}/reference_keypoints.npz",
        weights=backend_weights("pose_backend", "vitpose"),
    output:
        keypoints=f"{CLIP}/retarget_keypoints.npz",
        bones=f"{CLIP}/retarget.json",
    log:
        f"{LOGS}/edited_pose/{{clip}}.log",
    group:
        submission("edited_pose")
    conda:
        "../../envs/preprocess.yaml"
    threads: 2
    resources:
        **detector_job("edited_pose"),
    params:
        settings=settings(PoseBackend),
        weights=backend_content("pose_backend"),
        version=2,
    shell:
        'python "$SCRIPTS"/edited_pose.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --edited-reference {input.edited_reference:q}"
        " --edited-driver {input.edited_driver:q} --keypoints {input.keypoints:q}"
        " --reference-keypoints {input.reference_keypoints:q} --weights {input.weights:q}"
        ' --device "$DETECTORS" --output {output.keypoints:q} --bones {output.bones:q}'
