"""The preview of the preprocessing, what made each result, and the page that shows it."""


rule preview:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        keypoints=branch(has_points, then=f"{CLIP}/keypoints.npz"),
        people=branch(numbers_people, then=rules.keypoints.output.get("people", [])),
        pose=f"{CLIP}/src_pose.mp4",
        face=f"{CLIP}/src_face.mp4",
        person_mask=branch(finds_mask, then=f"{CLIP}/person_mask.mp4"),
        mask=branch(replaces, then=f"{CLIP}/src_mask.mp4"),
        edited=branch(edits, then=EDITED_PICTURES),
        edited_keypoints=branch(edits, then=f"{CLIP}/retarget_keypoints.npz"),
        bones=branch(edits, then=f"{CLIP}/retarget.json"),
        # Not read: it joins all of a clip's preparation into one submission.
        reference=ancient(f"{CLIP}/src_ref.png"),
        driving=ancient(f"{CLIP}/driving.mp4"),
    output:
        sheet=f"{CLIP}/preview.png",
        metrics=f"{CLIP}/metrics.json",
    log:
        f"{LOGS}/preview/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(POSED),
    group:
        submission("preview")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("preview"),
    params:
        settings=settings(PreviewSettings),
        given=own_columns,
        version=5,
    shell:
        'python "$SCRIPTS"/preview.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --timeline {input.timeline:q}"
        " --keypoints {input.keypoints:q} --people {input.people:q} --given {params.given}"
        " --pose {input.pose:q} --face {input.face:q}"
        " --person-mask {input.person_mask:q} --mask {input.mask:q} --bones {input.bones:q}"
        " --edited-keypoints {input.edited_keypoints:q} --edited {input.edited:q}"
        " --sheet {output.sheet:q} --metrics {output.metrics:q}"


rule driving:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
    output:
        video=f"{CLIP}/driving.mp4",
        poster=f"{CLIP}/driving.jpg",
    log:
        f"{LOGS}/driving/{{clip}}.log",
    group:
        submission("driving")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("driving"),
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/driving.py --clip {wildcards.clip} --log {log:q}'
        " --video {input.video:q} --timeline {input.timeline:q}"
        " --output {output.video:q} --poster {output.poster:q}"


rule preview_video:
    input:
        video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        keypoints=branch(has_points, then=f"{CLIP}/keypoints.npz"),
        people=branch(numbers_people, then=rules.keypoints.output.get("people", [])),
        pose=f"{CLIP}/src_pose.mp4",
        person_mask=branch(finds_mask, then=f"{CLIP}/person_mask.mp4"),
        mask=branch(replaces, then=f"{CLIP}/src_mask.mp4"),
        sound_source=sound_source,
        sound=f"{CLIP}/sound.json",
    output:
        f"{CLIP}/preview.mp4",
    log:
        f"{LOGS}/preview_video/{{clip}}.log",
    wildcard_constraints:
        clip=clips_of_kind(POSED),
    group:
        submission("preview_video")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("preview_video"),
    params:
        settings=settings(PreviewSettings),
        version=1,
    shell:
        'python "$SCRIPTS"/preview_video.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --video {input.video:q} --timeline {input.timeline:q}"
        " --keypoints {input.keypoints:q} --people {input.people:q} --pose {input.pose:q}"
        " --person-mask {input.person_mask:q} --mask {input.mask:q} --sound {input.sound:q}"
        " --sound-source {input.sound_source:q} --output {output:q}"


rule provenance:
    input:
        driving_video=driving_video,
        reference_image=reference_image,
        timeline=f"{CLIP}/timeline.json",
        sampled=f"{CLIP}/sampled.json",
        sampling=f"{CLIP}/sampling.json",
        figures=f"{CLIP}/result_metrics.json",
        result=f"{CLIP}/{{clip}}.mp4",
        model=index_of_clip,
        loras=own_loras,
        own_files=own_inputs,
        before=before("intermediate.mp4"),
        weights=anchors_beside_model,
        edited=branch(edits, then=EDITED_PICTURES),
    output:
        f"{CLIP}/{{clip}}.json",
    log:
        f"{LOGS}/provenance/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("provenance"),
    params:
        settings=settings(ClipSettings),
        weights=text_of_parts_beside_model,
        own_files=lambda wildcards: json.dumps(clip_of(wildcards).own.columns),
        source=source_of,
        before=clip_before,
        version=1,
    shell:
        'python "$SCRIPTS"/provenance.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --driving-video {input.driving_video:q}"
        " --driving-clip {params.source:q}"
        " --before {input.before:q} --clip-before {params.before:q}"
        " --reference-image {input.reference_image:q} --timeline {input.timeline:q}"
        " --sampled {input.sampled:q} --sampling {input.sampling:q}"
        " --figures {input.figures:q} --result {input.result:q} --model {input.model:q}"
        " --loras {input.loras:q} --own-files {params.own_files:q} --weights {params.weights:q}"
        " --edited {input.edited:q}"
        " --output {output:q}"


rule page:
    input:
        driving=f"{CLIP}/driving.mp4",
        timeline=f"{CLIP}/timeline.json",
        pose=branch(is_posed, then=f"{CLIP}/src_pose.mp4"),
        reference=f"{CLIP}/src_ref.png",
        result=f"{CLIP}/{{clip}}.mp4",
        provenance=f"{CLIP}/{{clip}}.json",
        preview=f"{CLIP}/preview.png",
        metrics=f"{CLIP}/metrics.json",
        edited=branch(edits, then=EDITED_PICTURES),
    output:
        page=f"{CLIP}/{{clip}}.html",
        poster=f"{CLIP}/{{clip}}.jpg",
    log:
        f"{LOGS}/page/{{clip}}.log",
    group:
        "finish:{clip}:"
    conda:
        "../../envs/preprocess.yaml"
    resources:
        **cpu_job("page"),
    params:
        version=4,
    shell:
        'python "$SCRIPTS"/page.py --clip {wildcards.clip} --log {log:q}'
        " --driving {input.driving:q} --timeline {input.timeline:q}"
        " --pose {input.pose:q} --reference {input.reference:q} --result {input.result:q}"
        " --provenance {input.provenance:q} --preview {input.preview:q}"
        " --edited {input.edited:q} --metrics {input.metrics:q} --output {output.page:q} --poster {output.poster:q}"
