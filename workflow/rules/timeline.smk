"""Which source frame becomes which output frame, and the reference image as the model reads it."""


def frame_shape_image(wildcards):
    """Animation takes the shape of the reference image, replacement that of the driving video."""
    return [] if replaces(wildcards) else f"{CLIP}/src_ref.png".format(clip=wildcards.clip)


rule timeline:
    input:
        video=driving_video,
        frame_shape=frame_shape_image,
    output:
        f"{CLIP}/timeline.json",
    params:
        settings=settings("resolution_area", "fps", "start", "end"),
        version=1,
    log:
        f"{LOGS}/timeline/{{clip}}.log",
    conda:
        "../../envs/preprocess.yaml"
    shell:
        "python {SCRIPTS:q}/timeline.py --clip {wildcards.clip} --log {log:q}"
        " --settings {params.settings:q} --video {input.video:q}"
        " --frame-shape {input.frame_shape:q} --output {output:q}"


rule reference:
    input:
        reference_image,
    output:
        f"{CLIP}/src_ref.png",
    params:
        version=1,
    log:
        f"{LOGS}/reference/{{clip}}.log",
    conda:
        "../../envs/preprocess.yaml"
    shell:
        "python {SCRIPTS:q}/reference.py --clip {wildcards.clip} --log {log:q}"
        " --image {input:q} --output {output:q}"
