"""What made each result, and the page that shows it."""


rule provenance:
    input:
        driving_video=driving_video,
        reference_image=reference_image,
        timeline=f"{CLIP}/timeline.json",
        sampled=f"{CLIP}/sampled.json",
        result=f"{CLIP}/{{clip}}.mp4",
        model=f"{MODEL}/model_index.json",
    output:
        f"{CLIP}/{{clip}}.json",
    log:
        f"{LOGS}/provenance/{{clip}}.log",
    conda:
        "../../envs/preprocess.yaml"
    params:
        settings=settings(*load_schema("settings")["properties"]),
        version=1,
    shell:
        'python "$SCRIPTS"/provenance.py --clip {wildcards.clip} --log {log:q}'
        " --settings {params.settings:q} --driving-video {input.driving_video:q}"
        " --reference-image {input.reference_image:q} --timeline {input.timeline:q}"
        " --sampled {input.sampled:q} --result {input.result:q} --model {input.model:q}"
        " --output {output:q}"


rule page:
    input:
        driving_video=driving_video,
        timeline=f"{CLIP}/timeline.json",
        pose=f"{CLIP}/src_pose.mp4",
        reference=f"{CLIP}/src_ref.png",
        result=f"{CLIP}/{{clip}}.mp4",
        provenance=f"{CLIP}/{{clip}}.json",
    output:
        report(
            f"{CLIP}/{{clip}}.html",
            caption="../report/clip.rst",
            category="Clips",
            # A second label of two values would become a switch between clips.
            subcategory=lambda wildcards: clip_of(wildcards).mode,
            labels=lambda wildcards: {"clip": wildcards.clip},
        ),
    log:
        f"{LOGS}/page/{{clip}}.log",
    conda:
        "../../envs/preprocess.yaml"
    params:
        version=1,
    shell:
        'python "$SCRIPTS"/page.py --clip {wildcards.clip} --log {log:q}'
        " --driving-video {input.driving_video:q} --timeline {input.timeline:q}"
        " --pose {input.pose:q} --reference {input.reference:q} --result {input.result:q}"
        " --provenance {input.provenance:q} --output {output:q}"
